// Weights in the kernels' forms, byte by byte against what kernels/cuda/linear.h says.
#include "backends/cuda/cuda_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/linear.h"

namespace inferd {
namespace {

// Parts of 4-bit weights, any bits.
struct Int4Parts {
  struct Part {
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    std::vector<uint8_t> zeros;
  };
  std::vector<Part> parts;
  std::vector<RawLinear> raw;
  LinearWeight weight;
};

Int4Parts MakeInt4(const std::vector<int64_t>& outputs, int64_t in, int32_t group,
                   std::mt19937* random) {
  Int4Parts made;
  made.weight.format = WeightFormat::kInt4;
  made.weight.in_features = in;
  made.weight.group_size = group;
  made.parts.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    Int4Parts::Part& part = made.parts[i];
    part.codes.resize(static_cast<size_t>(outputs[i] * in / 2));
    part.scales.resize(static_cast<size_t>(outputs[i] * in / group));
    part.zeros.resize(part.scales.size());
    for (uint8_t& code : part.codes) code = static_cast<uint8_t>((*random)());
    for (float& scale : part.scales) scale = static_cast<float>((*random)() % 1000);
    for (uint8_t& zero : part.zeros) zero = static_cast<uint8_t>((*random)() % 16);
    RawLinear raw;
    raw.format = WeightFormat::kInt4;
    raw.group_size = group;
    raw.data = TensorView(part.codes.data(), DType::kU8, {outputs[i], in / 2});
    raw.scales = TensorView(part.scales.data(), DType::kF32, {outputs[i], in / group});
    raw.zeros = TensorView(part.zeros.data(), DType::kU8, {outputs[i], in / group});
    made.raw.push_back(raw);
    made.weight.out_features += outputs[i];
  }
  return made;
}

// All of the packed form, slowly.
std::vector<std::byte> Expected(const Int4Parts& made) {
  const LinearWeight& weight = made.weight;
  const PackedForm form = FormOf(weight);
  const int64_t in = weight.in_features;
  const int64_t groups = in / weight.group_size;
  const int64_t stride = cuda::RoundUp(weight.out_features, cuda::kInt4TileOutputs);
  std::vector<std::byte> packed(static_cast<size_t>(form.bytes));
  int64_t output = 0;
  for (const Int4Parts::Part& part : made.parts) {
    const int64_t rows = static_cast<int64_t>(part.codes.size()) / (in / 2);
    for (int64_t row = 0; row < rows; ++row, ++output) {
      for (int64_t input = 0; input < in; ++input) {
        const auto pair = part.codes[static_cast<size_t>(row * in / 2 + input / 2)];
        const auto code = static_cast<uint8_t>(input % 2 == 0 ? pair & 15 : pair >> 4);
        const cuda::Int4Place place = cuda::PlaceInt4(output, input, in);
        packed[static_cast<size_t>(place.byte)] |= std::byte(place.high ? code << 4 : code);
      }
      for (int64_t g = 0; g < groups; ++g) {
        const auto from = static_cast<size_t>(row * groups + g);
        const auto to = static_cast<size_t>(g * stride + output);
        std::memcpy(&packed[static_cast<size_t>(form.scales_at) + to * sizeof(float)],
                    &part.scales[from], sizeof(float));
        packed[static_cast<size_t>(form.zeros_at) + to] = std::byte(part.zeros[from]);
      }
    }
  }
  return packed;
}

TEST(CudaWeightsTest, Int4CodesLieWhereTheKernelLooks) {
  std::mt19937 random(31);
  struct Shape {
    std::vector<int64_t> outputs;
    int64_t in;
    int32_t group;
  };
  // Parts that end within tiles, rows that end within blocks.
  for (const Shape& shape : {Shape{{1}, 32, 32}, Shape{{16}, 128, 128}, Shape{{40, 7, 7}, 96, 32},
                             Shape{{33, 1, 50}, 1120, 1120}, Shape{{5, 130}, 288, 96}}) {
    const Int4Parts made = MakeInt4(shape.outputs, shape.in, shape.group, &random);
    const std::vector<std::byte> expected = Expected(made);
    const PackedForm form = FormOf(made.weight);
    constexpr auto kGuard = std::byte{0xa5};
    std::vector<std::byte> packed(expected.size() + 64, kGuard);
    // In pieces, as it is sent.
    for (int64_t row = 0; row < form.num_rows; row += 2) {
      const int64_t count = std::min<int64_t>(2, form.num_rows - row);
      ASSERT_TRUE(WritePackedRows(made.raw, made.weight, row, count, nullptr,
                                  packed.data() + row * form.row_bytes)
                      .ok());
    }
    const GroupRows rows = GroupRowsOf(made.weight);
    for (int64_t g = 0; g < rows.groups; g += 3) {
      const int64_t count = std::min<int64_t>(3, rows.groups - g);
      const int64_t at = g * rows.outputs;
      WritePackedScales(made.raw, made.weight, g, count,
                        packed.data() + form.scales_at + at * int64_t{sizeof(float)});
      WritePackedZeros(made.raw, made.weight, g, count, packed.data() + form.zeros_at + at);
    }
    // Nobody reads what lies between the codes and the scales.
    std::fill(packed.begin() + form.value_bytes(), packed.begin() + form.scales_at, std::byte{0});
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(packed[i], expected[i]) << "byte " << i << ", inputs " << shape.in;
    }
    for (size_t i = expected.size(); i < packed.size(); ++i) ASSERT_EQ(packed[i], kGuard);
  }
}

}  // namespace
}  // namespace inferd
