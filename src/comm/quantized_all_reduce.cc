#include "inferd/comm/quantized_all_reduce.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "comm/all_reduce_decorator.h"
#include "comm/block_quantizer.h"

namespace inferd {
namespace {

using BlockValues = std::array<float, kBlockElements>;

// Elements [first, first + kBlockElements) of x, zeros past its end.
BlockValues LoadBlock(const TensorView& x, size_t first) {
  BlockValues values{};
  const auto count = static_cast<size_t>(x.NumElements());
  if (first >= count) return values;
  const size_t n = std::min(kBlockElements, count - first);
  if (x.dtype == DType::kF32) {
    std::memcpy(values.data(), x.As<float>() + first, n * sizeof(float));
  } else {
    for (size_t i = 0; i < n; ++i) values[i] = BF16ToF32(x.As<uint16_t>()[first + i]);
  }
  return values;
}

void StoreBlock(const BlockValues& values, const TensorView& x, size_t first) {
  const auto count = static_cast<size_t>(x.NumElements());
  if (first >= count) return;
  const size_t n = std::min(kBlockElements, count - first);
  if (x.dtype == DType::kF32) {
    std::memcpy(x.As<float>() + first, values.data(), n * sizeof(float));
  } else {
    for (size_t i = 0; i < n; ++i) x.As<uint16_t>()[first + i] = F32ToBF16(values[i]);
  }
}

class QuantizedAllReduce final : public AllReduceDecorator {
 public:
  QuantizedAllReduce(Communicator& inner, int64_t min_bytes)
      : AllReduceDecorator(inner), min_bytes_(min_bytes) {}

  Status AllReduce(const TensorView& x) override {
    const bool summable = x.dtype == DType::kF32 || x.dtype == DType::kBF16;
    if (!summable || x.NumElements() == 0 || x.NumBytes() < min_bytes_ || world_size() == 1) {
      return inner().AllReduce(x);
    }
    const auto world = static_cast<size_t>(world_size());
    const size_t blocks =
        (static_cast<size_t>(x.NumElements()) + kBlockElements - 1) / kBlockElements;
    const size_t part_blocks = (blocks + world - 1) / world;
    const size_t part_bytes = part_blocks * kBlockBytes;
    // Keep their memory from call to call.
    out_.resize(world * part_bytes);
    in_.resize(world * part_bytes);
    part_.resize(part_bytes);

    for (size_t b = 0; b < world * part_blocks; ++b) {
      QuantizeBlock(LoadBlock(x, b * kBlockElements), out_.data() + b * kBlockBytes);
    }
    INFERD_RETURN_IF_ERROR(inner().AllToAll(out_, in_));
    for (size_t b = 0; b < part_blocks; ++b) {
      BlockValues sum;
      DequantizeBlock(in_.data() + b * kBlockBytes, sum);
      for (size_t r = 1; r < world; ++r) {
        AddBlock(in_.data() + r * part_bytes + b * kBlockBytes, sum);
      }
      QuantizeBlock(sum, part_.data() + b * kBlockBytes);
    }
    INFERD_RETURN_IF_ERROR(inner().AllGather(part_, out_));
    for (size_t b = 0; b < blocks; ++b) {
      BlockValues values;
      DequantizeBlock(out_.data() + b * kBlockBytes, values);
      StoreBlock(values, x, b * kBlockElements);
    }
    return OkStatus();
  }

 private:
  const int64_t min_bytes_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
  std::vector<std::byte> part_;
};

}  // namespace

std::unique_ptr<Communicator> MakeQuantizedAllReduce(Communicator& inner, int64_t min_bytes) {
  return std::make_unique<QuantizedAllReduce>(inner, min_bytes);
}

}  // namespace inferd
