// What the other ranks see when one does not do its part.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>

#include "comm/groups.h"

namespace inferd {
namespace {

class FailuresTest : public testing::TestWithParam<size_t> {
 protected:
  Group Make(int world_size, int64_t timeout_us = 60'000'000) {
    CommOptions options;
    options.timeout_us = timeout_us;
    return AllKinds()[GetParam()].make(world_size, options, clock_);
  }
  SystemClock clock_;
};

// Every later call gives the same error, at once.
void ExpectBroken(Communicator& comm, const Status& error) {
  std::array<std::byte, 8> data{};
  for (const Status& status : {comm.Barrier(), comm.Broadcast(data, 0),
                               comm.Send(data, (comm.rank() + 1) % comm.world_size())}) {
    EXPECT_EQ(status.ToString(), error.ToString());
  }
}

TEST_P(FailuresTest, ARankThatDoesNotComeIsNamedAfterTheTimeOut) {
  Group group = Make(3, 2'000'000);
  OnThreads(2, [&](int rank) {
    Communicator& comm = *group[static_cast<size_t>(rank)];
    const Status status = comm.Barrier();
    EXPECT_TRUE(status.code() == StatusCode::kDeadlineExceeded ||
                status.code() == StatusCode::kUnavailable)
        << status.ToString();
    EXPECT_NE(
        status.message().find(status.code() == StatusCode::kDeadlineExceeded ? "rank 2" : "rank"),
        std::string::npos)
        << status.ToString();
    ExpectBroken(comm, status);
  });
  // The late one finds the group broken, and does not wait for it.
  EXPECT_EQ(group[2]->Barrier().code(), StatusCode::kUnavailable);
}

TEST_P(FailuresTest, TheTimeOutIsThatOfTheInjectedClock) {
  ManualClock clock;
  CommOptions options;
  options.timeout_us = 3'600'000'000;
  Group group = AllKinds()[GetParam()].make(2, options, clock);
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    EXPECT_EQ(group[0]->Barrier().code(), StatusCode::kDeadlineExceeded);
    done = true;
  });
  while (!done) {
    clock.AdvanceUs(options.timeout_us / 4);
    std::this_thread::yield();
  }
  waiter.join();
}

TEST_P(FailuresTest, AbortEndsTheCallUnderWayEverywhere) {
  Group group = Make(3);
  std::atomic<int> entered{0};
  OnThreads(3, [&](int rank) {
    Communicator& comm = *group[static_cast<size_t>(rank)];
    if (rank == 2) {  // another thread than the one that calls
      while (entered < 2) std::this_thread::yield();
      group[0]->Abort();
      return;
    }
    ++entered;
    const Status status = comm.Barrier();
    EXPECT_EQ(status.code(), rank == 0 ? StatusCode::kAborted : StatusCode::kUnavailable)
        << status.ToString();
    ExpectBroken(comm, status);
  });
  EXPECT_EQ(group[2]->Barrier().code(), StatusCode::kUnavailable);
}

TEST_P(FailuresTest, ARankThatLeavesIsMissedAtOnce) {
  Group group = Make(3);
  std::atomic<int> passed{0};
  OnThreads(3, [&](int rank) {
    auto& comm = group[static_cast<size_t>(rank)];
    EXPECT_TRUE(comm->Barrier().ok());
    // One that misses another breaks the group, also for a rank still in the first call.
    ++passed;
    while (passed < 3) std::this_thread::yield();
    if (rank == 1) {
      comm.reset();
      return;
    }
    const Status status = comm->Barrier();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
  });
}

TEST_P(FailuresTest, LeavingAfterTheLastCallHarmsNobody) {
  for (int i = 0; i < 20; ++i) {
    Group group = Make(2);
    OnThreads(2, [&](int rank) {
      auto& comm = group[static_cast<size_t>(rank)];
      std::array<float, 100> x{};
      EXPECT_TRUE(comm->AllReduce(TensorView(x.data(), DType::kF32, {100})).ok());
      comm.reset();
    });
  }
}

TEST_P(FailuresTest, RanksThatDisagreeGetNoResult) {
  const auto sizes = [](Communicator& comm, int rank) {
    std::array<float, 8> x{};
    return comm.AllReduce(TensorView(x.data(), DType::kF32, {rank == 1 ? 7 : 8}));
  };
  const auto types = [](Communicator& comm, int rank) {
    std::array<float, 8> x{};
    return rank == 1 ? comm.AllReduce(TensorView(x.data(), DType::kBF16, {16}))
                     : comm.AllReduce(TensorView(x.data(), DType::kF32, {8}));
  };
  const auto kinds = [](Communicator& comm, int rank) {
    std::array<std::byte, 8> x{};
    return rank == 1 ? comm.Barrier() : comm.Broadcast(x, 0);
  };
  const auto roots = [](Communicator& comm, int rank) {
    std::array<std::byte, 8> x{};
    return comm.Broadcast(x, rank == 1 ? 1 : 0);
  };
  const auto messages = [](Communicator& comm, int rank) {
    std::array<std::byte, 8> x{};
    if (rank == 2) return comm.Barrier();
    return rank == 1 ? comm.Recv(std::span(x).first(7), 0) : comm.Send(x, 1);
  };
  const std::vector<std::function<Status(Communicator&, int)>> cases = {sizes, types, kinds, roots,
                                                                        messages};
  for (size_t c = 0; c < cases.size(); ++c) {
    Group group = Make(3);
    std::atomic<int> told{0};
    OnThreads(3, [&](int rank) {
      Communicator& comm = *group[static_cast<size_t>(rank)];
      Status status = cases[c](comm, rank);
      if (status.ok()) {  // a message may be on its way before the other disagrees
        EXPECT_TRUE(c == 4 && rank == 0);
        status = comm.Barrier();
      }
      EXPECT_FALSE(status.ok());
      if (status.code() == StatusCode::kFailedPrecondition) ++told;
      ExpectBroken(comm, status);
    });
    EXPECT_GE(told, 1) << "case " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, FailuresTest, testing::Range<size_t>(0, AllKinds().size()),
                         [](const auto& test) { return AllKinds()[test.param].name; });

}  // namespace
}  // namespace inferd
