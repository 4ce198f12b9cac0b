// Whether tiles run here: alone in this file, as a program that links functions of its own in
// place of these two has all the others as they are.
#include <cstdint>

#include "cpu/tile_unit.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace inferd::kernels {
namespace {

// AMX tiles and the products of this bit of CPUID leaf 7, edx.
bool AmxRuns([[maybe_unused]] int product_bit) {
#if defined(__x86_64__) && defined(__linux__)
  constexpr uint32_t kOsUsesXsave = 1U << 27;  // leaf 1, ecx
  const uint32_t tiles_and_product = 1U << 24 | 1U << product_bit;
  constexpr uint32_t kTileState = 0b11U << 17;  // in XCR0
  constexpr long kRequestPermission = 0x1023;   // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsUsesXsave) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & tiles_and_product) != tiles_and_product) return false;
  // The intrinsic would need -mxsave.
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  if ((eax & kTileState) != kTileState) return false;
  // Linux gives the large registers only to processes that asked.
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool AmxBf16Runs() { return AmxRuns(22); }
bool AmxInt8Runs() { return AmxRuns(25); }

}  // namespace inferd::kernels
