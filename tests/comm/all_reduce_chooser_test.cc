// Which all-reduce is chosen, on ranks whose clocks only move as the test says.
#include "inferd/comm/all_reduce_chooser.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "comm/groups.h"

namespace inferd {
namespace {

// Takes as long as the test says: microseconds of a call of so many bytes.
struct Costs {
  std::function<int64_t(size_t bytes)> all_reduce = [](size_t) { return 0; };
  std::function<int64_t(size_t bytes)> all_to_all = [](size_t) { return 0; };
};

class SlowCommunicator final : public CommunicatorDecorator {
 public:
  SlowCommunicator(Communicator& inner, Costs costs, ManualClock& clock)
      : CommunicatorDecorator(inner), costs_(std::move(costs)), clock_(clock) {}

  Status AllReduce(const TensorView& x) override {
    clock_.AdvanceUs(costs_.all_reduce(static_cast<size_t>(x.NumBytes())));
    return inner().AllReduce(x);
  }
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    clock_.AdvanceUs(costs_.all_to_all(in.size()));
    return inner().AllToAll(in, out);
  }

 private:
  const Costs costs_;
  ManualClock& clock_;
};

// Runs `body` with each rank's choice, after the costs of each rank.
void Choose(int world, AllReduceChooserOptions options, const std::function<Costs(int rank)>& costs,
            const std::function<void(int rank, ChosenAllReduce& chosen)>& body,
            const std::function<Costs(int rank)>& local_costs = nullptr) {
  const SystemClock system;
  Group group = ThreadGroup(world, CommOptions{}, system);
  Group hosts = ThreadGroup(world, CommOptions{}, system);  // one host: all are local
  Group leaders = ThreadGroup(1, CommOptions{}, system);
  OnThreads(world, [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    ManualClock clock;
    SlowCommunicator slow(*group[r], costs(rank), clock);
    AllReduceChooserOptions mine = options;
    std::optional<SlowCommunicator> local;
    if (local_costs != nullptr) {
      mine.local = &local.emplace(*hosts[r], local_costs(rank), clock);
      if (rank == 0) mine.leaders = leaders[0].get();
    }
    auto chosen = MakeChosenAllReduce(slow, mine, clock);
    ASSERT_TRUE(chosen.ok()) << chosen.status().ToString();
    EXPECT_EQ((*chosen)->choices().size(), 1U);  // plain, until it has chosen
    const Status status = (*chosen)->Choose();
    ASSERT_TRUE(status.ok()) << status.ToString();
    body(rank, **chosen);
  });
}

// A slow link: exact sums cost by the byte, quantised ones a quarter of it and 100 us.
Costs SlowLink(int) {
  Costs costs;
  costs.all_reduce = [](size_t bytes) { return static_cast<int64_t>(bytes) / 100; };
  costs.all_to_all = [](size_t bytes) { return static_cast<int64_t>(bytes) / 100 + 100; };
  return costs;
}

TEST(AllReduceChooserTest, LossyOnesAreChosenWhereTheyAreQuickerAndAllowed) {
  for (const auto mode : {AllReduceMode::kInt8, AllReduceMode::kFp8}) {
    const AllReduceKind lossy =
        mode == AllReduceMode::kInt8 ? AllReduceKind::kInt8 : AllReduceKind::kFp8;
    AllReduceChooserOptions options;
    options.mode = mode;
    options.max_bytes = 1 << 20;
    Choose(3, options, SlowLink, [&](int, ChosenAllReduce& chosen) {
      ASSERT_EQ(chosen.choices().size(), 5U);  // 4 KiB to 1 MiB
      for (const AllReduceChoice& choice : chosen.choices()) {
        const bool worth_it = choice.measured_bytes / 100 > choice.measured_bytes / 380 + 100;
        EXPECT_EQ(choice.kind, worth_it ? lossy : AllReduceKind::kPlain) << choice.measured_bytes;
      }
      EXPECT_NE(chosen.Summary().find(AllReduceKindName(lossy)), std::string::npos)
          << chosen.Summary();
    });
  }
}

TEST(AllReduceChooserTest, LossyOnesGoUnmeasuredWhereTheyAlwaysShall) {
  for (const auto mode : {AllReduceMode::kAlwaysInt8, AllReduceMode::kAlwaysFp8}) {
    AllReduceChooserOptions options;
    options.mode = mode;
    Choose(3, options, SlowLink, [&](int, ChosenAllReduce& chosen) {
      ASSERT_EQ(chosen.choices().size(), 1U);
      EXPECT_EQ(chosen.choices()[0].kind,
                mode == AllReduceMode::kAlwaysInt8 ? AllReduceKind::kInt8 : AllReduceKind::kFp8);
      EXPECT_EQ(chosen.choices()[0].ns[0], -1);
    });
  }
}

TEST(AllReduceChooserTest, AutoAndExactStayExactHoweverSlow) {
  for (const auto mode : {AllReduceMode::kHierarchical, AllReduceMode::kExact}) {
    AllReduceChooserOptions options;
    options.mode = mode;
    Choose(2, options, SlowLink, [](int rank, ChosenAllReduce& chosen) {
      for (const AllReduceChoice& choice : chosen.choices()) {
        EXPECT_EQ(choice.kind, AllReduceKind::kPlain);
      }
      std::vector<float> x(100'000, rank == 0 ? 1.0F : 0x1p-20F);
      ASSERT_TRUE(chosen.AllReduce(TensorView(x.data(), DType::kF32, {100'000})).ok());
      for (const float value : x) ASSERT_EQ(value, 1.0F + 0x1p-20F);
    });
  }
}

TEST(AllReduceChooserTest, HostsFirstIsChosenWhereAllowedAndNotByExact) {
  for (const auto mode : {AllReduceMode::kHierarchical, AllReduceMode::kExact}) {
    AllReduceChooserOptions options;
    options.mode = mode;
    const auto quick = [](int) { return Costs{}; };
    Choose(
        2, options, SlowLink,
        [&](int, ChosenAllReduce& chosen) {
          EXPECT_EQ(chosen.choices().back().kind, mode == AllReduceMode::kHierarchical
                                                      ? AllReduceKind::kHierarchical
                                                      : AllReduceKind::kPlain);
          std::vector<float> x(10'000, 1.0F);
          ASSERT_TRUE(chosen.AllReduce(TensorView(x.data(), DType::kF32, {10'000})).ok());
          for (const float value : x) ASSERT_EQ(value, 2.0F);
        },
        quick);
  }
}

// Each rank alone would choose differently; the slowest one counts, for all.
TEST(AllReduceChooserTest, RanksThatMeasureDifferentlyGoTheSameWay) {
  AllReduceChooserOptions options;
  options.mode = AllReduceMode::kInt8;
  std::array<std::vector<AllReduceChoice>, 3> choices;
  const auto costs = [](int rank) {
    Costs mine;
    mine.all_reduce = [rank](size_t) { return rank == 1 ? 300 : 100; };
    mine.all_to_all = [rank](size_t) { return rank == 2 ? 200 : 150; };
    return mine;
  };
  Choose(3, options, costs, [&](int rank, ChosenAllReduce& chosen) {
    choices[static_cast<size_t>(rank)] = chosen.choices();
    std::vector<float> x(1000, 1.0F);  // would hang or fail if they did not
    EXPECT_TRUE(chosen.AllReduce(TensorView(x.data(), DType::kF32, {1000})).ok());
  });
  for (const auto& of_rank : choices) {
    ASSERT_EQ(of_rank.size(), choices[0].size());
    for (const AllReduceChoice& choice : of_rank) {
      EXPECT_EQ(choice.kind, AllReduceKind::kInt8);
      EXPECT_EQ(choice.ns[static_cast<size_t>(AllReduceKind::kPlain)], 300'000);
      EXPECT_EQ(choice.ns[static_cast<size_t>(AllReduceKind::kInt8)], 200'000);
    }
  }
}

TEST(AllReduceChooserTest, EverySizeHasAWay) {
  AllReduceChooserOptions options;
  options.mode = AllReduceMode::kInt8;
  options.max_bytes = 100'000;  // no power of the growth
  Choose(2, options, SlowLink, [&](int, ChosenAllReduce& chosen) {
    EXPECT_EQ(chosen.choices().back().measured_bytes, 100'000);
    for (const int64_t count : {0, 1, 1000, 25'000, 60'000}) {
      std::vector<float> x(static_cast<size_t>(count), 1.0F);
      ASSERT_TRUE(chosen.AllReduce(TensorView(x.data(), DType::kF32, {count})).ok());
      for (const float value : x) EXPECT_NEAR(value, 2.0F, 2.0 / 127);
    }
  });
}

TEST(AllReduceChooserTest, AGroupThatBreaksDuringTheMeasurementSaysSo) {
  const SystemClock clock;
  Group group = ThreadGroup(2, CommOptions{}, clock);
  group[1]->Abort();
  AllReduceChooserOptions options;
  options.mode = AllReduceMode::kInt8;
  const auto chosen = MakeChosenAllReduce(*group[0], options, clock);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ((*chosen)->Choose().code(), StatusCode::kUnavailable);
}

TEST(AllReduceChooserTest, NamesAndRanges) {
  EXPECT_EQ(ParseAllReduceMode("auto"), AllReduceMode::kAuto);
  EXPECT_EQ(ParseAllReduceMode("hierarchical"), AllReduceMode::kHierarchical);
  EXPECT_EQ(ParseAllReduceMode("always-hierarchical"), AllReduceMode::kAlwaysHierarchical);
  EXPECT_EQ(ParseAllReduceMode("exact"), AllReduceMode::kExact);
  EXPECT_EQ(ParseAllReduceMode("int8"), AllReduceMode::kInt8);
  EXPECT_EQ(ParseAllReduceMode("fp8"), AllReduceMode::kFp8);
  EXPECT_EQ(ParseAllReduceMode("always-int8"), AllReduceMode::kAlwaysInt8);
  EXPECT_EQ(ParseAllReduceMode("always-fp8"), AllReduceMode::kAlwaysFp8);
  EXPECT_EQ(ParseAllReduceMode("fast"), std::nullopt);
  const SystemClock clock;
  Group group = ThreadGroup(1, CommOptions{}, clock);
  AllReduceChooserOptions options;
  options.max_bytes = 3;
  EXPECT_EQ(MakeChosenAllReduce(*group[0], options, clock).status().code(),
            StatusCode::kInvalidArgument);
  options.max_bytes = 1000;
  options.repetitions = 0;
  EXPECT_EQ(MakeChosenAllReduce(*group[0], options, clock).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inferd
