#include "inferd/comm/quantized_all_reduce.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "comm/block_quantizer.h"
#include "inferd/comm/communicator_decorator.h"

namespace inferd {
namespace {

// Blocks worked on at a time: their floats stay in the first-level cache.
constexpr size_t kPieceBlocks = 16;
constexpr size_t kPieceElements = kPieceBlocks * kBlockElements;
using Piece = std::array<float, kPieceElements>;

// Elements of x from `first` on into `values`, zeros past the end of x.
void Load(const TensorView& x, size_t first, std::span<float> values) {
  const auto count = static_cast<size_t>(x.NumElements());
  const size_t n = first < count ? std::min(values.size(), count - first) : 0;
  if (x.dtype == DType::kF32 && n > 0) {
    std::memcpy(values.data(), x.As<float>() + first, n * sizeof(float));
  } else {
    for (size_t i = 0; i < n; ++i) values[i] = BF16ToF32(x.As<uint16_t>()[first + i]);
  }
  std::fill(values.begin() + static_cast<ptrdiff_t>(n), values.end(), 0.0F);
}

void Store(std::span<const float> values, const TensorView& x, size_t first) {
  const auto count = static_cast<size_t>(x.NumElements());
  const size_t n = first < count ? std::min(values.size(), count - first) : 0;
  if (x.dtype == DType::kF32 && n > 0) {
    std::memcpy(x.As<float>() + first, values.data(), n * sizeof(float));
  } else {
    for (size_t i = 0; i < n; ++i) x.As<uint16_t>()[first + i] = F32ToBF16(values[i]);
  }
}

// work(first block, floats to use) for each piece of `blocks` blocks.
template <typename Work>
void ForPieces(size_t blocks, const Work& work) {
  Piece values;
  for (size_t first = 0; first < blocks; first += kPieceBlocks) {
    const size_t n = std::min(kPieceBlocks, blocks - first);
    work(first, std::span(values).first(n * kBlockElements));
  }
}

class QuantizedAllReduce final : public CommunicatorDecorator {
 public:
  QuantizedAllReduce(Communicator& inner, QuantizedFormat format, int64_t min_bytes)
      : CommunicatorDecorator(inner), format_(format), min_bytes_(min_bytes) {}

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

    ForPieces(world * part_blocks, [&](size_t first, std::span<float> values) {
      Load(x, first * kBlockElements, values);
      QuantizeBlocks(format_, values, out_.data() + first * kBlockBytes);
    });
    INFERD_RETURN_IF_ERROR(inner().AllToAll(out_, in_));
    ForPieces(part_blocks, [&](size_t first, std::span<float> sum) {
      const std::byte* const mine = in_.data() + first * kBlockBytes;
      DequantizeBlocks(format_, mine, sum);
      for (size_t r = 1; r < world; ++r) AddBlocks(format_, mine + r * part_bytes, sum);
      QuantizeBlocks(format_, sum, part_.data() + first * kBlockBytes);
    });
    INFERD_RETURN_IF_ERROR(inner().AllGather(part_, out_));
    ForPieces(blocks, [&](size_t first, std::span<float> values) {
      DequantizeBlocks(format_, out_.data() + first * kBlockBytes, values);
      Store(values, x, first * kBlockElements);
    });
    return OkStatus();
  }

 private:
  const QuantizedFormat format_;
  const int64_t min_bytes_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
  std::vector<std::byte> part_;
};

}  // namespace

std::unique_ptr<Communicator> MakeQuantizedAllReduce(Communicator& inner, QuantizedFormat format,
                                                     int64_t min_bytes) {
  return std::make_unique<QuantizedAllReduce>(inner, format, min_bytes);
}

}  // namespace inferd
