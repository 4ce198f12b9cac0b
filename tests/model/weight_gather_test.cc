#include "model/weight_gather.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "inferd/comm/communicator_decorator.h"
#include "inferd/comm/thread_group.h"

namespace inferd::model {
namespace {

constexpr size_t kShare = 192;

// A group's end that counts what is gathered.
class CountingLink final : public CommunicatorDecorator {
 public:
  using CommunicatorDecorator::CommunicatorDecorator;
  size_t gathers() const { return gathers_; }

  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    ++gathers_;
    return inner().AllGather(in, out);
  }

 private:
  std::atomic<size_t> gathers_{0};
};

// A rank's part of layers of which part r of layer l holds the byte 16 r + l.
class RankLayers {
 public:
  RankLayers(Communicator& link, size_t num_layers) : link_(link) {
    const auto ranks = static_cast<size_t>(link.world_size());
    std::vector<WeightGather::Layer> layers(num_layers);
    for (size_t p = 0; p < WeightGather::NumPlaces(num_layers); ++p) {
      places_.push_back(std::move(*Buffer::Create(allocator_, kShare * ranks)));
    }
    for (size_t l = 0; l < num_layers; ++l) {
      layers[l].share = std::move(*Buffer::Create(allocator_, kShare));
      std::memset(layers[l].share.data(), 16 * link.rank() + static_cast<int>(l), kShare);
      layers[l].whole = places_[WeightGather::PlaceOf(l, num_layers)].data();
      wholes_.push_back(layers[l].whole);
    }
    gather_.emplace(link_, std::move(layers));
  }

  WeightGather& gather() { return *gather_; }
  CountingLink& link() { return link_; }
  bool IsWhole(size_t layer) const {
    for (size_t i = 0; i < kShare * static_cast<size_t>(link_.world_size()); ++i) {
      if (wholes_[layer][i] != static_cast<std::byte>(16 * (i / kShare) + layer)) return false;
    }
    return true;
  }

 private:
  HostAllocator allocator_;
  CountingLink link_;
  std::vector<Buffer> places_;
  std::vector<std::byte*> wholes_;
  std::optional<WeightGather> gather_;
};

class WeightGatherTest : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    auto group = MakeThreadGroup(2, CommOptions(), clock_);
    ASSERT_TRUE(group.ok());
    group_ = std::move(*group);
    for (int r = 0; r < 2; ++r) {
      ranks_.push_back(std::make_unique<RankLayers>(*group_[static_cast<size_t>(r)], GetParam()));
    }
  }

  const SystemClock clock_{};
  std::vector<std::unique_ptr<Communicator>> group_;
  std::vector<std::unique_ptr<RankLayers>> ranks_;
};

TEST_P(WeightGatherTest, EveryLayerIsWholeFromItsUseToItsRelease) {
  const size_t layers = GetParam();
  std::vector<std::thread> threads;
  for (auto& rank : ranks_) {
    threads.emplace_back([&] {
      size_t released = 0;
      for (int step = 0; step < 30; ++step) {
        for (size_t l = 0; l < layers; ++l) {
          ASSERT_TRUE(rank->gather().Use(l).ok());
          EXPECT_TRUE(rank->IsWhole(l)) << l;
          std::this_thread::yield();
          // One layer ahead at most, and so none that would overwrite this one.
          EXPECT_LE(rank->link().gathers(), released + 2);
          EXPECT_TRUE(rank->IsWhole(l)) << l;
          rank->gather().Release(l);
          ++released;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(WeightGatherTest, TheNextLayerComesWithoutBeingAskedFor) {
  EXPECT_EQ(ranks_[0]->link().gathers(), 0U);  // not before the first use
  std::thread other([&] { EXPECT_TRUE(ranks_[1]->gather().Use(0).ok()); });
  EXPECT_TRUE(ranks_[0]->gather().Use(0).ok());
  other.join();
  const size_t wanted = GetParam() == 1 ? 1 : 2;
  for (int i = 0; i < 60'000 && ranks_[0]->link().gathers() < wanted; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(ranks_[0]->link().gathers(), wanted);
}

TEST_P(WeightGatherTest, ARankThatEndsEndsTheOthers) {
  std::thread other([&] {
    EXPECT_TRUE(ranks_[1]->gather().Use(0).ok());
    ranks_[1]->gather().Release(0);
    ranks_[1].reset();
  });
  Status status;
  for (size_t i = 0; status.ok() && i < 4; ++i) {
    status = ranks_[0]->gather().Use(i % GetParam());
    if (status.ok()) ranks_[0]->gather().Release(i % GetParam());
  }
  other.join();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
  EXPECT_NE(status.message().find("gathering weights"), std::string::npos) << status.ToString();
}

INSTANTIATE_TEST_SUITE_P(Layers, WeightGatherTest, ::testing::Values(1, 2, 3, 4, 7));

}  // namespace
}  // namespace inferd::model
