// The all-reduces that are made of other communicators.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "comm/block_quantizer.h"
#include "comm/groups.h"
#include "inferd/comm/hierarchical_all_reduce.h"
#include "inferd/comm/quantized_all_reduce.h"

namespace inferd {
namespace {

float Value(int rank, int64_t i, float scale) {
  // Sizes vary by block and by rank.
  const float u = PhiloxUniform(static_cast<uint64_t>(rank), static_cast<uint64_t>(i), 0) - 0.5F;
  return u * scale * std::ldexp(1.0F, static_cast<int>(i / kQuantizedBlock % 9) - rank);
}

using Format = QuantizedFormat;

class QuantizedTest : public testing::TestWithParam<std::tuple<int, Format>> {};

TEST_P(QuantizedTest, StaysWithinTheBoundAndIsTheSameOnAllRanks) {
  const int world = std::get<0>(GetParam());
  const Format format = std::get<1>(GetParam());
  const SystemClock clock;
  Group group = ThreadGroup(world, CommOptions{}, clock);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const float scale : {1.0F, 1e-30F, 1e-42F, 1e30F}) {
      for (const int64_t count :
           {int64_t{1}, int64_t{63}, kQuantizedBlock, int64_t{1000}, int64_t{20001}}) {
        std::vector<std::vector<float>> results(static_cast<size_t>(world));
        const auto input = [&](int rank, int64_t i) {
          const float value = Value(rank, i, scale);
          return dtype == DType::kF32 ? value : BF16ToF32(F32ToBF16(value));
        };
        OnThreads(world, [&](int rank) {
          const auto comm = MakeQuantizedAllReduce(*group[static_cast<size_t>(rank)], format, 0);
          std::vector<float> wide(static_cast<size_t>(count));
          std::vector<uint16_t> narrow(static_cast<size_t>(count));
          for (int64_t i = 0; i < count; ++i) {
            wide[static_cast<size_t>(i)] = input(rank, i);
            narrow[static_cast<size_t>(i)] = F32ToBF16(input(rank, i));
          }
          void* const data = dtype == DType::kF32 ? static_cast<void*>(wide.data())
                                                  : static_cast<void*>(narrow.data());
          ASSERT_TRUE(comm->AllReduce(TensorView(data, dtype, {count})).ok());
          if (dtype == DType::kBF16) {
            for (size_t i = 0; i < wide.size(); ++i) wide[i] = BF16ToF32(narrow[i]);
          }
          results[static_cast<size_t>(rank)] = wide;
        });
        for (int64_t first = 0; first < count; first += kQuantizedBlock) {
          const int64_t end = std::min(count, first + kQuantizedBlock);
          double largest = 0;  // A of the contract
          for (int r = 0; r < world; ++r) {
            double mine = 0;
            for (int64_t i = first; i < end; ++i)
              mine = std::max(mine, std::fabs(double{input(r, i)}));
            largest += mine;
          }
          const double rounding = (world + 4) * 0x1p-22 * largest +
                                  (world + 1) * 512.0 * double{std::numeric_limits<float>::min()};
          for (int64_t i = first; i < end; ++i) {
            double exact = 0;
            double magnitudes = 0;  // X of the contract
            for (int r = 0; r < world; ++r) {
              exact += double{input(r, i)};
              magnitudes += std::fabs(double{input(r, i)});
            }
            const double bound =
                rounding + (format == Format::kInt8
                                ? largest / 127
                                : magnitudes * (1.0 / 8 + 1.0 / 256) + largest * 0x1p-17);
            const float got = results[0][static_cast<size_t>(i)];
            const double half_ulp = dtype == DType::kBF16 ? std::fabs(double{got}) * 0x1p-8 : 0;
            if (world == 1) {
              EXPECT_EQ(double{got}, exact);
            } else {
              EXPECT_LE(std::fabs(double{got} - exact), bound + half_ulp) << i;
            }
          }
        }
        for (const auto& result : results) {
          EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * 4), 0);
        }
      }
    }
  }
}

TEST(QuantizedAllReduceTest, SpreadsWhatIsNotFiniteOverItsBlockOnly) {
  const SystemClock clock;
  Group group = ThreadGroup(2, CommOptions{}, clock);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const Format format : {Format::kInt8, Format::kFp8}) {
      OnThreads(2, [&](int rank) {
        const auto comm = MakeQuantizedAllReduce(*group[static_cast<size_t>(rank)], format, 0);
        std::vector<float> x(static_cast<size_t>(3 * kQuantizedBlock), 1.0F);
        if (rank == 1) x[static_cast<size_t>(kQuantizedBlock + 5)] = bad;
        ASSERT_TRUE(comm->AllReduce(TensorView(x.data(), DType::kF32, {3 * kQuantizedBlock})).ok());
        for (int64_t i = 0; i < 3 * kQuantizedBlock; ++i) {
          EXPECT_EQ(std::isnan(x[static_cast<size_t>(i)]), i / kQuantizedBlock == 1) << i;
        }
      });
    }
  }
}

TEST(QuantizedAllReduceTest, LeavesSmallMessagesExact) {
  const SystemClock clock;
  Group group = ThreadGroup(2, CommOptions{}, clock);
  OnThreads(2, [&](int rank) {
    const auto comm =
        MakeQuantizedAllReduce(*group[static_cast<size_t>(rank)], Format::kInt8, 1024);
    std::vector<float> x(255);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) + 0.125F;
    ASSERT_TRUE(comm->AllReduce(TensorView(x.data(), DType::kF32, {255})).ok());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], 2 * static_cast<float>(i) + 0.25F);
  });
}

// Every code that a byte can hold, by the definition of E4M3.
TEST(BlockQuantizerTest, Fp8CodesAreThoseOfE4M3) {
  for (int high = 0; high < 256; high += static_cast<int>(kBlockElements)) {
    std::array<std::byte, kBlockBytes> block;
    const float one = 1.0F;
    std::memcpy(block.data(), &one, sizeof(one));
    for (size_t i = 0; i < kBlockElements; ++i) {
      block[sizeof(one) + i] = static_cast<std::byte>(high + static_cast<int>(i));
    }
    std::array<float, kBlockElements> values;
    DequantizeBlocks(Format::kFp8, block.data(), values);
    for (size_t i = 0; i < kBlockElements; ++i) {
      const int code = high + static_cast<int>(i);
      const int exponent = code >> 3 & 15;
      const int mantissa = code & 7;
      if ((code & 0x7f) == 0x7f) continue;  // NaN: never written
      const double magnitude =
          exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
      EXPECT_EQ(double{values[i]}, code < 128 ? magnitude : -magnitude) << code;
    }
  }
}

// The nearest of all codes, and the even one of two that are as near.
TEST(BlockQuantizerTest, RoundsToTheNearestCode) {
  for (const Format format : {Format::kInt8, Format::kFp8}) {
    const float largest = format == Format::kInt8 ? 127.0F : 448.0F;
    std::vector<float> codes;  // by code, without NaN
    for (int code = 0; code < 128 - (format == Format::kFp8 ? 1 : 0); ++code) {
      const int exponent = code >> 3;
      codes.push_back(format == Format::kInt8 ? static_cast<float>(code)
                      : exponent == 0
                          ? std::ldexp(static_cast<float>(code & 7), -9)
                          : std::ldexp(static_cast<float>(8 + (code & 7)), exponent - 10));
    }
    std::vector<float> inputs;
    for (size_t c = 0; c + 1 < codes.size(); ++c) {
      const float middle = (codes[c] + codes[c + 1]) / 2;
      for (const float x :
           {codes[c], middle, std::nextafter(middle, 0.0F), std::nextafter(middle, largest)}) {
        inputs.push_back(x);
        inputs.push_back(-x);
      }
    }
    for (size_t first = 0; first < inputs.size(); first += kBlockElements - 1) {
      std::array<float, kBlockElements> in{};
      in[0] = largest;  // so that the scale is 1
      for (size_t i = 1; i < in.size() && first + i - 1 < inputs.size(); ++i) {
        in[i] = inputs[first + i - 1];
      }
      std::array<std::byte, kBlockBytes> block;
      QuantizeBlocks(format, in, block.data());
      std::array<float, kBlockElements> out;
      DequantizeBlocks(format, block.data(), out);
      for (size_t i = 0; i < in.size(); ++i) {
        const float x = std::fabs(in[i]);
        size_t nearest = 0;
        for (size_t c = 1; c < codes.size(); ++c) {
          const float closer = std::fabs(codes[c] - x) - std::fabs(codes[nearest] - x);
          if (closer < 0 || (closer == 0 && c % 2 == 0)) nearest = c;
        }
        EXPECT_EQ(std::fabs(out[i]), codes[nearest]) << in[i];
        EXPECT_TRUE(out[i] == 0 || std::signbit(out[i]) == std::signbit(in[i]));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, QuantizedTest,
                         testing::Combine(testing::Range(1, 6),
                                          testing::Values(Format::kInt8, Format::kFp8)));

struct TwoHosts {
  explicit TwoHosts(const Clock& clock, const CommOptions& options = {})
      : all(ThreadGroup(5, options, clock)), leaders(ThreadGroup(2, options, clock)) {
    hosts.push_back(ThreadGroup(3, options, clock));
    hosts.push_back(ThreadGroup(2, options, clock));
  }
  std::unique_ptr<Communicator> Of(int rank) {
    const size_t host = rank < 3 ? 0 : 1;
    const size_t local = static_cast<size_t>(rank) - 3 * host;
    return MakeHierarchicalAllReduce(*all[static_cast<size_t>(rank)], *hosts[host][local],
                                     local == 0 ? leaders[host].get() : nullptr);
  }
  Group all;
  Group leaders;
  std::vector<Group> hosts;
};

TEST(HierarchicalTest, SumsHostsFirstBitForBit) {
  const SystemClock clock;
  TwoHosts groups(clock);
  for (const int64_t count : {0, 1, 777, 100001}) {
    OnThreads(5, [&](int rank) {
      const auto comm = groups.Of(rank);
      std::vector<float> x(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = Value(rank, i, 1.0F);
      ASSERT_TRUE(comm->AllReduce(TensorView(x.data(), DType::kF32, {count})).ok());
      for (int64_t i = 0; i < count; ++i) {
        const float first = Value(0, i, 1.0F) + Value(1, i, 1.0F) + Value(2, i, 1.0F);
        const float second = Value(3, i, 1.0F) + Value(4, i, 1.0F);
        ASSERT_EQ(x[static_cast<size_t>(i)], first + second) << i;
      }
      EXPECT_TRUE(comm->Barrier().ok());
    });
  }
}

TEST(HierarchicalTest, AnErrorOnOneHostEndsTheOther) {
  const SystemClock clock;
  CommOptions options;
  options.timeout_us = 60'000'000;
  TwoHosts groups(clock, options);
  OnThreads(5, [&](int rank) {
    const auto comm = groups.Of(rank);
    if (rank == 4) {
      comm->Abort();
      return;
    }
    std::array<float, 4> x{};
    const Status status = comm->AllReduce(TensorView(x.data(), DType::kF32, {4}));
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(comm->AllReduce(TensorView(x.data(), DType::kF32, {4})).ToString(),
              status.ToString());
    EXPECT_FALSE(comm->Barrier().ok());
  });
}

}  // namespace
}  // namespace inferd
