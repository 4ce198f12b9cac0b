// Any bytes as a plan and as a result: whatever is taken has exactly these bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/check.h"
#include "inferd/plan/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inferd;  // NOLINT(google-build-using-namespace)
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> again;
  if (const auto plan = DecodePlan(bytes); plan.ok()) {
    EncodePlan(plan.value(), again);
    INFERD_CHECK(std::ranges::equal(again, bytes));
  }
  if (const auto result = DecodeResult(bytes, 100'000); result.ok()) {
    EncodeResult(result.value(), again);
    INFERD_CHECK(std::ranges::equal(again, bytes));
  }
  return 0;
}
