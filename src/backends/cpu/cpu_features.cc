#include "backends/cpu/cpu_features.h"

#include <string>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace inferd {
namespace {

struct Feature {
  std::string_view name;
  uint32_t CpuidRegisters::*word;
  int bit;
};

// What Highway's AVX2 target lets the compiler use, but for AES and PCLMUL, which
// compilers never choose by themselves and no kernel asks for.
constexpr Feature kNeeded[] = {
    {"AVX", &CpuidRegisters::leaf1_ecx, 28}, {"AVX2", &CpuidRegisters::leaf7_ebx, 5},
    {"FMA", &CpuidRegisters::leaf1_ecx, 12}, {"F16C", &CpuidRegisters::leaf1_ecx, 29},
    {"BMI1", &CpuidRegisters::leaf7_ebx, 3}, {"BMI2", &CpuidRegisters::leaf7_ebx, 8},
};
#if defined(__x86_64__)
constexpr uint32_t kOsUsesXsave = 1U << 27;  // in leaf1_ecx: XGETBV may be executed
#endif
constexpr uint32_t kAvxState = 0b110;  // in xcr0: XMM and the upper halves of YMM

constexpr std::string_view kInstead = "; --backend ref runs anywhere, slowly";

void Append(std::string_view name, std::string* list) {
  if (!list->empty()) *list += ", ";
  *list += name;
}

}  // namespace

std::optional<CpuidRegisters> ReadCpuid() {
#if defined(__x86_64__)
  CpuidRegisters cpu;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) cpu.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) cpu.leaf7_ebx = ebx;
  if ((cpu.leaf1_ecx & kOsUsesXsave) != 0) {
    // The intrinsic would need -mxsave.
    asm volatile("xgetbv" : "=a"(cpu.xcr0), "=d"(edx) : "c"(0));
  }
  return cpu;
#else
  return std::nullopt;
#endif
}

Status CheckCpuFeatures(const std::optional<CpuidRegisters>& cpu) {
  if (!cpu) return OkStatus();
  std::string needed;
  std::string missing;
  for (const Feature& feature : kNeeded) {
    Append(feature.name, &needed);
    if (((*cpu).*feature.word >> feature.bit & 1U) == 0) Append(feature.name, &missing);
  }
  std::string wrong;
  if (!missing.empty()) {
    wrong = "this CPU lacks " + missing;
  } else if ((cpu->xcr0 & kAvxState) != kAvxState) {
    wrong = "the operating system does not save the AVX registers";
  } else {
    return OkStatus();
  }
  return FailedPreconditionError("the cpu backend needs " + needed + "; " + wrong +
                                 std::string(kInstead));
}

}  // namespace inferd
