// Whether this processor can run the kernels. x86-64 has them for AVX2 and better
// only (kernels/cpu/CMakeLists.txt); everything here is plain x86-64 code, so that
// the question may be asked anywhere.
#pragma once

#include <cstdint>
#include <optional>

#include "inferd/base/status.h"

namespace inferd {

// What the CPUID and XGETBV instructions answer; 0 where they are not there.
struct CpuidRegisters {
  uint32_t leaf1_ecx = 0;
  uint32_t leaf7_ebx = 0;
  uint32_t xcr0 = 0;  // the registers that the operating system saves
};

// This processor's; nothing if it is not an x86 one.
std::optional<CpuidRegisters> ReadCpuid();

// OK, or FAILED_PRECONDITION with one line naming what is missing. Always OK for
// processors of other kinds: NEON belongs to every 64-bit Arm.
Status CheckCpuFeatures(const std::optional<CpuidRegisters>& cpu);

}  // namespace inferd
