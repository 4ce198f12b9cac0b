// Groups of emulated devices over the NCCL of the tests' own.
#include "backends/cuda/nccl_group.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <future>
#include <random>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/shim_control.h"
#include "inferd/comm/thread_group.h"

namespace inferd::testing {
namespace {

constexpr int64_t kPatienceUs = 120'000'000;  // where nothing goes wrong
constexpr int64_t kShortUs = 300'000;         // where it does

// ---- the library ----

TEST(NcclApiTest, AMachineWithoutNcclIsToldSo) {
  const auto api = nccl::Open("libnccl-that-is-not-there.so.2");
  EXPECT_EQ(api.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(api.status().message().find("libnccl-that-is-not-there"), std::string::npos);
}

TEST(NcclApiTest, AnotherLibraryIsNoNccl) {
  EXPECT_EQ(nccl::Open("libm.so.6").status().code(), StatusCode::kFailedPrecondition);
}

TEST(NcclApiTest, AnOldOneIsRefused) {
  const ShimPlan plan("version=21805");
  const auto api = nccl::Open();
  EXPECT_EQ(api.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(api.status().message().find("NCCL 2.18.5 is too old, 2.19.0"), std::string::npos)
      << api.status().ToString();
}

TEST(NcclApiTest, TheOldestOneTakenHasItsVersionInDots) {
  const ShimPlan plan("version=21900");
  const auto api = nccl::Open();
  ASSERT_TRUE(api.ok()) << api.status().ToString();
  EXPECT_EQ(nccl::VersionText((*api)->version), "2.19.0");
}

// ---- groups ----

// One rank, as its thread has it. Members go in reverse.
struct Rank {
  std::unique_ptr<Communicator> host;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<DeviceGroup> group;

  Ops& ops() const { return backend->ops(); }
};

class NcclGroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    SetFakeDevices(4);
    options_.connect_timeout_us = options_.step_timeout_us = options_.abort_timeout_us =
        kPatienceUs;
    before_ = ShimCounts();
  }
  // All of the library that was taken was given back.
  void TearDown() override {
    const NcclShimCounts after = ShimCounts();
    EXPECT_EQ(after.memory, before_.memory);
    if (!leaves_comms_) {
      EXPECT_EQ(after.comms, before_.comms);
    }
  }

  // The body of each rank, in a thread of its own, with a group that is not connected.
  void OnRanks(int ranks, const std::function<void(Rank&)>& body) {
    CommOptions host;
    host.timeout_us = kPatienceUs;
    auto hosts = MakeThreadGroup(ranks, host, clock_);
    ASSERT_TRUE(hosts.ok());
    std::vector<std::thread> threads;
    for (auto& end : *hosts) {
      threads.emplace_back([this, &body, end = std::move(end)]() mutable {
        Rank rank;
        rank.host = std::move(end);
        BackendOptions options;
        options.device = rank.host->rank();
        auto backend = MakeCudaBackend(options);
        ASSERT_TRUE(backend.ok()) << backend.status().ToString();
        rank.backend = std::move(*backend);
        auto group = rank.ops().MakeGroup(*rank.host, options_, clock_);
        ASSERT_TRUE(group.ok()) << group.status().ToString();
        rank.group = std::move(*group);
        body(rank);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  // One sum on each of `ranks` ranks; the status of connecting, of the call or of waiting.
  std::vector<Status> Sums(int ranks, int count) {
    std::vector<Status> results(static_cast<size_t>(ranks));
    OnRanks(ranks, [&](Rank& rank) {
      Status& result = results[static_cast<size_t>(rank.host->rank())];
      result = rank.group->Connect();
      if (!result.ok()) return;
      auto buffer = Buffer::Create(rank.ops().allocator(), 64);
      ASSERT_TRUE(buffer.ok());
      rank.ops().Fill(buffer->data(), 0, 64);
      const TensorView x(buffer->data(), DType::kF32, {16});
      for (int i = 0; i < count && result.ok(); ++i) {
        result = rank.group->AllReduce(x);
        const Status finished = rank.ops().Finish();
        if (result.ok()) result = finished;
        // What once failed fails for good.
        if (!result.ok()) {
          EXPECT_FALSE(rank.group->AllReduce(x).ok());
          EXPECT_FALSE(rank.ops().Finish().ok());
        }
      }
    });
    return results;
  }
  void ExpectThatAGroupWorks(int ranks) {
    ResetFakeCuda();
    SetFakeDevices(4);
    options_.connect_timeout_us = options_.step_timeout_us = options_.abort_timeout_us =
        kPatienceUs;
    for (const Status& status : Sums(ranks, 3)) EXPECT_TRUE(status.ok()) << status.ToString();
  }

  const SystemClock clock_{};
  DeviceGroupOptions options_;
  NcclShimCounts before_;
  bool leaves_comms_ = false;
};

std::vector<std::byte> RandomBytes(DType dtype, size_t elements, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<float> values(-2.0F, 2.0F);
  std::vector<std::byte> bytes(elements * static_cast<size_t>(DTypeSize(dtype)));
  for (size_t i = 0; i < elements; ++i) {
    const float value = values(random);
    if (dtype == DType::kF32) {
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    } else {
      const uint16_t bits = F32ToBF16(value);
      std::memcpy(bytes.data() + 2 * i, &bits, 2);
    }
  }
  return bytes;
}

// Collectives on memory of either kind. Element counts are of a rank's part.
using Collective =
    std::function<Status(Communicator& group, const TensorView& in, const TensorView& out)>;

std::span<std::byte> BytesOf(const TensorView& x) {
  return {x.As<std::byte>(), static_cast<size_t>(x.NumBytes())};
}

// What `run` makes of the rank's random numbers, on the device and with the host's group,
// which must agree to the bit.
void Compare(Rank& rank, const char* what, DType dtype, int64_t in_elements, int64_t out_elements,
             const Collective& run) {
  SCOPED_TRACE(what);
  const std::vector<std::byte> data =
      RandomBytes(dtype, static_cast<size_t>(in_elements), 100 + rank.host->rank());
  const auto out_bytes = static_cast<size_t>(out_elements * DTypeSize(dtype));
  std::vector<std::byte> host_in = data;
  std::vector<std::byte> host_out(out_bytes, std::byte{7});
  const Status on_host = run(*rank.host, TensorView(host_in.data(), dtype, {in_elements}),
                             TensorView(host_out.data(), dtype, {out_elements}));
  ASSERT_TRUE(on_host.ok()) << on_host.ToString();

  auto in = Buffer::Create(rank.ops().allocator(), data.size());
  auto out = Buffer::Create(rank.ops().allocator(), out_bytes);
  ASSERT_TRUE(in.ok() && out.ok());
  rank.ops().CopyIn(in->data(), data.data(), data.size());
  rank.ops().Fill(out->data(), 7, out_bytes);
  const Status on_device = run(*rank.group, TensorView(in->data(), dtype, {in_elements}),
                               TensorView(out->data(), dtype, {out_elements}));
  ASSERT_TRUE(on_device.ok()) << on_device.ToString();
  std::vector<std::byte> device_in(data.size());
  std::vector<std::byte> device_out(out_bytes);
  ASSERT_TRUE(rank.ops().CopyOut(device_in.data(), in->data(), device_in.size()).ok());
  ASSERT_TRUE(rank.ops().CopyOut(device_out.data(), out->data(), out_bytes).ok());
  EXPECT_TRUE(device_in == host_in);
  EXPECT_TRUE(device_out == host_out);
}

TEST_F(NcclGroupTest, CollectivesAreThoseOfTheHost) {
  for (const int ranks : {1, 2, 3}) {
    for (const int64_t n : {1, 7, 1000, 70'001}) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, " + std::to_string(n) + " elements");
      OnRanks(ranks, [&](Rank& rank) {
        const Status connected = rank.group->Connect();
        ASSERT_TRUE(connected.ok()) << connected.ToString();
        for (const DType dtype : {DType::kF32, DType::kBF16}) {
          Compare(rank, "all-reduce", dtype, n, 1,
                  [](Communicator& group, const TensorView& in, const TensorView&) {
                    return group.AllReduce(in);
                  });
          Compare(rank, "reduce-scatter", dtype, n * ranks, n,
                  [](Communicator& group, const TensorView& in, const TensorView& out) {
                    return group.ReduceScatter(in, out);
                  });
        }
        Compare(rank, "all-gather", DType::kF32, n, n * ranks,
                [](Communicator& group, const TensorView& in, const TensorView& out) {
                  return group.AllGather(BytesOf(in), BytesOf(out));
                });
        Compare(rank, "all-gather in place", DType::kF32, n, n * ranks,
                [n](Communicator& group, const TensorView&, const TensorView& out) {
                  return group.AllGather(BytesOf(out.Rows(group.rank() * n, n)), BytesOf(out));
                });
        Compare(rank, "all-to-all", DType::kF32, n * ranks, n * ranks,
                [](Communicator& group, const TensorView& in, const TensorView& out) {
                  return group.AllToAll(BytesOf(in), BytesOf(out));
                });
        Compare(rank, "broadcast", DType::kF32, n, 1,
                [ranks](Communicator& group, const TensorView& in, const TensorView&) {
                  return group.Broadcast(BytesOf(in), ranks - 1);
                });
        if (ranks == 1) return;
        // Along a line, as between stages.
        Compare(rank, "messages", DType::kF32, n, n,
                [ranks](Communicator& group, const TensorView& in, const TensorView& out) {
                  if (group.rank() > 0) {
                    INFERD_RETURN_IF_ERROR(group.Recv(BytesOf(out), group.rank() - 1));
                  }
                  if (group.rank() + 1 == ranks) return OkStatus();
                  return group.Send(BytesOf(group.rank() == 0 ? in : out), group.rank() + 1);
                });
        EXPECT_TRUE(rank.group->Barrier().ok());
      });
    }
  }
}

TEST_F(NcclGroupTest, WhatMakesNoSenseIsRefusedAndBreaksNothing) {
  OnRanks(2, [&](Rank& rank) {
    auto buffer = Buffer::Create(rank.ops().allocator(), 64);
    const TensorView x(buffer->data(), DType::kF32, {16});
    EXPECT_EQ(rank.group->AllReduce(x).code(), StatusCode::kFailedPrecondition);  // too early
    ASSERT_TRUE(rank.group->Connect().ok());
    const TensorView bytes(buffer->data(), DType::kI8, {64});
    DeviceGroup& group = *rank.group;
    EXPECT_EQ(group.AllReduce(bytes).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(group.ReduceScatter(x, x).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(group.AllGather(BytesOf(x), BytesOf(x)).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(group.Broadcast(BytesOf(x), 2).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(group.Send(BytesOf(x), group.rank()).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(group.Recv(BytesOf(x), -1).code(), StatusCode::kInvalidArgument);
    rank.ops().Fill(buffer->data(), 0, 64);
    EXPECT_TRUE(group.AllReduce(x).ok());
    EXPECT_TRUE(rank.ops().Finish().ok());
  });
}

TEST_F(NcclGroupTest, MemoryOfTheGroupBecomesAWindow) {
  OnRanks(2, [&](Rank& rank) {
    auto buffer = Buffer::Create(rank.group->memory(), size_t{3} << 20);
    ASSERT_TRUE(buffer.ok());
    ASSERT_TRUE(rank.group->Connect().ok());
    EXPECT_EQ(rank.group->Description(), "NCCL 2.28.9, windows of 3 MiB");
    EXPECT_TRUE(rank.host->Barrier().ok());
    EXPECT_EQ(ShimCounts().windows, 2);
    EXPECT_TRUE(rank.host->Barrier().ok());
    rank.ops().Fill(buffer->data(), 0, buffer->size());
    EXPECT_TRUE(rank.group->AllReduce(TensorView(buffer->data(), DType::kF32, {1000})).ok());
    EXPECT_TRUE(rank.ops().Finish().ok());
  });
  EXPECT_EQ(ShimCounts().windows, 0);
}

// Windows are the same on all ranks or none at all.
TEST_F(NcclGroupTest, MemoryThatIsNotAlikeIsRegisteredByEachRank) {
  OnRanks(2, [&](Rank& rank) {
    const size_t mebibytes = rank.host->rank() == 0 ? 2 : 3;
    auto buffer = Buffer::Create(rank.group->memory(), mebibytes << 20);
    ASSERT_TRUE(rank.group->Connect().ok());
    EXPECT_EQ(rank.group->Description(),
              "NCCL 2.28.9, registered memory of " + std::to_string(mebibytes) + " MiB");
  });
  EXPECT_EQ(ShimCounts().windows + ShimCounts().registered, 0);
}

// ---- what goes wrong ----

struct Failure {
  std::string name;
  std::string plan;
  StatusCode code;   // of the rank that it happens to
  std::string says;  // in its status
  bool others_wait;  // which then run into their deadline
};

class NcclFailureTest : public NcclGroupTest, public ::testing::WithParamInterface<Failure> {};

TEST_P(NcclFailureTest, EndsTheRankWithAStatusInTime) {
  const Failure& failure = GetParam();
  options_.connect_timeout_us = options_.step_timeout_us = options_.abort_timeout_us = kShortUs;
  leaves_comms_ = failure.plan.find("abort=hangs") != std::string::npos;
  // Ranks that only wait get a status of their own, and must not outwait the test.
  {
    const ShimPlan plan(failure.plan);
    const std::vector<Status> results = Sums(2, 5);
    EXPECT_EQ(results[1].code(), failure.code) << results[1].ToString();
    EXPECT_NE(results[1].message().find(failure.says), std::string::npos) << results[1].ToString();
    EXPECT_FALSE(results[0].ok());
    if (failure.others_wait) {
      EXPECT_EQ(results[0].code(), StatusCode::kDeadlineExceeded) << results[0].ToString();
    }
  }
  if (!leaves_comms_) {
    EXPECT_EQ(ShimCounts().comms, before_.comms);
  }
  // The same processes may make another group.
  ExpectThatAGroupWorks(2);
}

INSTANTIATE_TEST_SUITE_P(
    All, NcclFailureTest,
    ::testing::Values(
        Failure{"InitFails", "rank=1,init=fails", StatusCode::kInternal,
                "connecting the GPUs: an error of the shim (as a test wants it)", true},
        Failure{"InitBreaks", "rank=1,init=breaks", StatusCode::kInternal, "connecting the GPUs",
                false},
        Failure{"InitHangs", "rank=1,init=hangs", StatusCode::kDeadlineExceeded,
                "connecting the GPUs did not come about within 300 ms", true},
        Failure{"NoId", "id=fails", StatusCode::kUnavailable, "rank 0 has no id", false},
        Failure{"CallHangs", "rank=1,call=hangs", StatusCode::kDeadlineExceeded, "NCCL: ", true},
        Failure{"RemoteError", "rank=1,error=3", StatusCode::kUnavailable, "remote process exited",
                true},
        Failure{"CollectiveHangs", "rank=1,hang=3", StatusCode::kDeadlineExceeded,
                "has waited for other ranks for", true},
        Failure{"AbortHangs", "rank=1,hang=2,abort=hangs", StatusCode::kDeadlineExceeded,
                "does not let go of it", true}),
    [](const ::testing::TestParamInfo<Failure>& p) { return p.param.name; });

TEST_F(NcclGroupTest, MemoryThatCannotBeRegisteredIsAnError) {
  options_.connect_timeout_us = options_.step_timeout_us = kShortUs;
  const ShimPlan plan("register=fails");
  OnRanks(2, [&](Rank& rank) {
    auto buffer = Buffer::Create(rank.group->memory(), 4096);
    const Status status = rank.group->Connect();
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
    EXPECT_NE(status.message().find("registering memory"), std::string::npos);
  });
}

TEST_F(NcclGroupTest, ARankThatDoesNotTakePartIsWaitedForUntilTheDeadline) {
  options_.step_timeout_us = options_.abort_timeout_us = kShortUs;
  OnRanks(2, [&](Rank& rank) {
    ASSERT_TRUE(rank.group->Connect().ok());
    auto buffer = Buffer::Create(rank.ops().allocator(), 64);
    rank.ops().Fill(buffer->data(), 0, 64);
    if (rank.host->rank() == 0) {
      EXPECT_TRUE(rank.group->AllReduce(TensorView(buffer->data(), DType::kF32, {16})).ok());
      const Status status = rank.ops().Finish();
      EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status.ToString();
    }
    EXPECT_TRUE(rank.host->Barrier().ok());
  });
}

// Ranks that disagree never get a result.
TEST_F(NcclGroupTest, RanksThatDisagreeLoseTheGroup) {
  options_.step_timeout_us = kShortUs;
  OnRanks(2, [&](Rank& rank) {
    ASSERT_TRUE(rank.group->Connect().ok());
    auto buffer = Buffer::Create(rank.ops().allocator(), 64);
    rank.ops().Fill(buffer->data(), 0, 64);
    EXPECT_TRUE(
        rank.group->AllReduce(TensorView(buffer->data(), DType::kF32, {8 + rank.host->rank()}))
            .ok());
    EXPECT_FALSE(rank.ops().Finish().ok());
  });
}

TEST_F(NcclGroupTest, AbortEndsAWaitUnderWay) {
  std::promise<DeviceGroup*> waiting;
  std::promise<void> aborted;
  std::thread other([&] {
    waiting.get_future().get()->Abort();
    aborted.set_value();
  });
  OnRanks(2, [&](Rank& rank) {
    ASSERT_TRUE(rank.group->Connect().ok());
    auto buffer = Buffer::Create(rank.ops().allocator(), 64);
    rank.ops().Fill(buffer->data(), 0, 64);
    if (rank.host->rank() == 0) {
      EXPECT_TRUE(rank.group->AllReduce(TensorView(buffer->data(), DType::kF32, {16})).ok());
      waiting.set_value(rank.group.get());
      EXPECT_EQ(rank.ops().Finish().code(), StatusCode::kAborted);
      EXPECT_EQ(rank.group->AllReduce(TensorView(buffer->data(), DType::kF32, {16})).code(),
                StatusCode::kAborted);
      aborted.get_future().wait();
    }
    EXPECT_TRUE(rank.host->Barrier().ok());
    rank.group->Abort();
  });
  other.join();
  EXPECT_GE(ShimCounts().aborts, before_.aborts + 2);
}

}  // namespace
}  // namespace inferd::testing
