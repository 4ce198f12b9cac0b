// Every collective of every kind of group against loops that follow its definition.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "comm/groups.h"
#include "inferd/base/random.h"

namespace inferd {
namespace {

constexpr int64_t kSizes[] = {0, 1, 31, 1000, 2048, 4097, 70001};

using Bytes = std::vector<std::byte>;

// Values of very different sizes, so that another order of sums gives other bits.
Bytes RandomValues(DType dtype, int64_t count, uint64_t seed) {
  Bytes bytes(static_cast<size_t>(count * DTypeSize(dtype)));
  for (int64_t i = 0; i < count; ++i) {
    const float u = PhiloxUniform(seed, static_cast<uint64_t>(i), 0) - 0.5F;
    const float scale = PhiloxUniform(seed, static_cast<uint64_t>(i), 1) < 0.3F ? 1e6F : 1.0F;
    const float value = u * scale;
    const uint16_t half = F32ToBF16(value);
    if (dtype == DType::kF32) {
      std::memcpy(bytes.data() + i * 4, &value, 4);
    } else {
      std::memcpy(bytes.data() + i * 2, &half, 2);
    }
  }
  return bytes;
}

float ValueAt(const Bytes& bytes, DType dtype, int64_t i) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, bytes.data() + i * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes.data() + i * 2, 2);
  return BF16ToF32(half);
}

// The sum over the ranks in order, as the contract has it.
Bytes OracleSum(const std::vector<Bytes>& inputs, DType dtype) {
  Bytes out(inputs[0].size());
  const auto count = static_cast<int64_t>(out.size()) / DTypeSize(dtype);
  for (int64_t i = 0; i < count; ++i) {
    float sum = ValueAt(inputs[0], dtype, i);
    for (size_t r = 1; r < inputs.size(); ++r) sum += ValueAt(inputs[r], dtype, i);
    const uint16_t half = F32ToBF16(sum);
    if (dtype == DType::kF32) {
      std::memcpy(out.data() + i * 4, &sum, 4);
    } else {
      std::memcpy(out.data() + i * 2, &half, 2);
    }
  }
  return out;
}

class CollectivesTest : public testing::TestWithParam<std::tuple<size_t, int>> {
 protected:
  CollectivesTest() {
    options_.timeout_us = 60'000'000;
    options_.chunk_bytes = 16384;  // many pieces, and both ways of reducing
    group_ = AllKinds()[std::get<0>(GetParam())].make(world_, options_, clock_);
  }
  // Calls `body` on every rank's thread.
  void Run(const std::function<void(int, Communicator&)>& body) {
    OnThreads(world_, [&](int rank) { body(rank, *group_[static_cast<size_t>(rank)]); });
  }

  const int world_ = std::get<1>(GetParam());
  SystemClock clock_;
  CommOptions options_;
  Group group_;
};

TEST_P(CollectivesTest, SumsInTheOrderOfRanksBitForBit) {
  options_.chunk_bytes = 65536;  // so that pieces exceed one exchange
  group_ = AllKinds()[std::get<0>(GetParam())].make(world_, options_, clock_);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t count : kSizes) {
      std::vector<Bytes> inputs;
      for (int r = 0; r < world_; ++r) {
        inputs.push_back(RandomValues(dtype, count, static_cast<uint64_t>(r + 1)));
      }
      const Bytes expected = OracleSum(inputs, dtype);
      Run([&](int rank, Communicator& comm) {
        Bytes x = inputs[static_cast<size_t>(rank)];
        const Status status = comm.AllReduce(TensorView(x.data(), dtype, {count}));
        ASSERT_TRUE(status.ok()) << status.ToString();
        EXPECT_EQ(x, expected) << DTypeName(dtype) << " x " << count << " on rank " << rank;
      });
    }
  }
}

TEST_P(CollectivesTest, ReduceScatterGivesTheParts) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t count : kSizes) {
      std::vector<Bytes> inputs;
      for (int r = 0; r < world_; ++r) {
        inputs.push_back(RandomValues(dtype, count * world_, static_cast<uint64_t>(r + 1)));
      }
      const Bytes sum = OracleSum(inputs, dtype);
      const auto part = static_cast<size_t>(count * DTypeSize(dtype));
      Run([&](int rank, Communicator& comm) {
        Bytes in = inputs[static_cast<size_t>(rank)];
        Bytes out(part);
        ASSERT_TRUE(comm.ReduceScatter(TensorView(in.data(), dtype, {count * world_}),
                                       TensorView(out.data(), dtype, {count}))
                        .ok());
        const auto first = sum.begin() + static_cast<int64_t>(part) * rank;
        EXPECT_TRUE(std::equal(out.begin(), out.end(), first));
      });
    }
  }
}

TEST_P(CollectivesTest, GathersDealsAndBroadcasts) {
  for (const int64_t count : kSizes) {
    const auto bytes = static_cast<size_t>(count);
    std::vector<Bytes> inputs;
    for (int r = 0; r < world_; ++r) {
      inputs.push_back(RandomValues(DType::kF32, count * world_, static_cast<uint64_t>(r + 7)));
    }
    Run([&](int rank, Communicator& comm) {
      const Bytes& mine = inputs[static_cast<size_t>(rank)];
      const auto n = static_cast<size_t>(world_);
      Bytes gathered(bytes * n);
      ASSERT_TRUE(comm.AllGather(std::span(mine).first(bytes), gathered).ok());
      Bytes dealt(bytes * n);
      ASSERT_TRUE(comm.AllToAll(std::span(mine).first(bytes * n), dealt).ok());
      for (size_t r = 0; r < n; ++r) {
        EXPECT_TRUE(std::equal(inputs[r].begin(), inputs[r].begin() + count,
                               gathered.begin() + static_cast<int64_t>(r) * count));
        EXPECT_TRUE(std::equal(inputs[r].begin() + rank * count,
                               inputs[r].begin() + (rank + 1) * count,
                               dealt.begin() + static_cast<int64_t>(r) * count));
      }
      for (int root = 0; root < world_; ++root) {
        Bytes data = mine;
        ASSERT_TRUE(comm.Broadcast(data, root).ok());
        EXPECT_EQ(data, inputs[static_cast<size_t>(root)]);
      }
      ASSERT_TRUE(comm.Barrier().ok());
    });
  }
}

TEST_P(CollectivesTest, MessagesArriveInOrderBetweenCollectives) {
  if (world_ == 1) return;  // there is nobody to write to
  for (const int64_t count : {0, 1, 5000, 300001}) {
    Run([&](int rank, Communicator& comm) {
      const int next = (rank + 1) % world_;
      const int previous = (rank + world_ - 1) % world_;
      Bytes out(static_cast<size_t>(count), static_cast<std::byte>(rank));
      Bytes in(static_cast<size_t>(count));
      // Round the ring; rank 0 sends first, so that nobody waits in a circle.
      if (rank == 0) {
        ASSERT_TRUE(comm.Send(out, next).ok());
      }
      ASSERT_TRUE(comm.Recv(in, previous).ok());
      if (rank != 0) {
        ASSERT_TRUE(comm.Send(out, next).ok());
      }
      EXPECT_EQ(in, Bytes(static_cast<size_t>(count), static_cast<std::byte>(previous)));
      ASSERT_TRUE(comm.Barrier().ok());
    });
  }
}

TEST_P(CollectivesTest, RefusesWhatItCanSeeToBeWrongAndGoesOn) {
  Run([&](int, Communicator& comm) {
    std::array<int32_t, 4> numbers{};
    Bytes four(4);
    Bytes wrong(static_cast<size_t>(world_) * 4 + 1);
    EXPECT_EQ(comm.AllReduce(TensorView(numbers.data(), DType::kI32, {4})).code(),
              StatusCode::kInvalidArgument);
    EXPECT_EQ(comm.AllGather(four, wrong).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(comm.Broadcast(four, world_).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(comm.Broadcast(four, -1).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(comm.Send(four, comm.rank()).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(comm.Recv(four, -1).code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(comm.Barrier().ok());
  });
}

TEST(SumTest, KeepsNegativeZeroAndInfinitiesAndNaN) {
  const SystemClock clock;
  Group group = ThreadGroup(2, CommOptions{}, clock);
  OnThreads(2, [&](int rank) {
    const float inf = std::numeric_limits<float>::infinity();
    std::array<float, 3> x = {-0.0F, inf, rank == 0 ? inf : -inf};
    std::array<uint16_t, 2> halves = {F32ToBF16(-0.0F), F32ToBF16(std::nanf(""))};
    Communicator& comm = *group[static_cast<size_t>(rank)];
    ASSERT_TRUE(comm.AllReduce(TensorView(x.data(), DType::kF32, {3})).ok());
    ASSERT_TRUE(comm.AllReduce(TensorView(halves.data(), DType::kBF16, {2})).ok());
    EXPECT_EQ(std::bit_cast<uint32_t>(x[0]), 0x80000000U);
    EXPECT_EQ(x[1], inf);
    EXPECT_TRUE(std::isnan(x[2]));
    EXPECT_EQ(halves[0], 0x8000);
    EXPECT_TRUE(std::isnan(BF16ToF32(halves[1])));
  });
}

INSTANTIATE_TEST_SUITE_P(Groups, CollectivesTest,
                         testing::Combine(testing::Range<size_t>(0, AllKinds().size()),
                                          testing::Range(1, 6)),
                         [](const auto& test) {
                           return AllKinds()[std::get<0>(test.param)].name + "_" +
                                  std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace inferd
