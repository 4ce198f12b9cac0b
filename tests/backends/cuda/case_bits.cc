// Prints a hash of what the device backend makes of each conformance case, to compare what
// runs its kernels: `case_bits_test.py`.
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

constexpr int kEvery = 3;  // of the cases, to be done in some seconds

// FNV-1a.
uint64_t Hash(const std::vector<float>& values) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const float value : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    hash = (hash ^ bits) * 0x100000001b3U;
  }
  return hash;
}

int Main() {
  ResetFakeCuda();
  const auto backend = MakeCudaBackend({});
  if (!backend.ok()) return 1;
  Ops& ops = (*backend)->ops();
  int number = 0;
  for (const OpCase& c : AllCases(16)) {
    if (number++ % kEvery != 0) continue;
    if (c.weights && !ops.Supports(*c.weights)) continue;
    const auto prepared = c.prepare(ops);
    prepared->Reset();
    prepared->Run();
    std::printf("%s %016" PRIx64 "\n", c.name.c_str(), Hash(prepared->Outputs()));
    if (!ops.Finish().ok()) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace inferd::testing

int main() { return inferd::testing::Main(); }
