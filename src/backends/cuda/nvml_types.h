// What NVIDIA's management library writes its readings into, as its manual has it.
#pragma once

namespace inferd {

struct NvmlUtilization {
  unsigned gpu = 0;  // percent
  unsigned memory = 0;
};

struct NvmlMemory {
  unsigned long long total = 0;  // NOLINT: the library's type
  unsigned long long free = 0;   // NOLINT
  unsigned long long used = 0;   // NOLINT
};

}  // namespace inferd
