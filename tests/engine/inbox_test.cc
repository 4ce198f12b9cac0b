// What is refused at the door because of its deadline, or because the queue is full.
#include "engine/inbox.h"

#include <optional>

#include "engine/engine_core.h"
#include "engine/recording_sink.h"
#include "engine/simple_executor.h"
#include "gtest/gtest.h"

namespace inferd::testing {
namespace {

constexpr int64_t kSecond = 1'000'000;

EngineOptions Options() {
  EngineOptions options;
  options.num_blocks = 100;
  options.max_running = 1;
  return options;
}

RequestSpec Spec(RequestId id, int64_t deadline_us = -1, int32_t priority = 0) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt = {static_cast<TokenId>(id), 2, 3};
  spec.stop.max_new_tokens = 4;
  spec.deadline_us = deadline_us;
  spec.priority = priority;
  return spec;
}

class InboxDeadlineTest : public ::testing::Test {
 protected:
  void SetUp() override { clock_.AdvanceUs(1000 * kSecond); }

  void Queue(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(inbox_.Submit(Spec(next_++)).ok());
  }
  // The first `count` of the queue are scheduled and end, each `every_us` after the last.
  void Serve(int count, int64_t every_us, bool backlog = true) {
    for (int i = 0; i < count; ++i) {
      clock_.AdvanceUs(every_us);
      SchedulerChanges changes;
      changes.dequeued.push_back({served_, true});
      changes.ended.push_back(served_++);
      inbox_.Settle(changes, backlog, 0);
    }
  }
  Status SubmitWithin(int64_t us, int32_t priority = 0) {
    return inbox_.Submit(Spec(1'000'000 + next_++, clock_.NowUs() + us, priority));
  }

  ManualClock clock_;
  Inbox inbox_{Options(), 1000, clock_};
  RequestId next_ = 1;
  RequestId served_ = 1;
};

TEST_F(InboxDeadlineTest, AShorterOneThanTheWaitIsRefusedAtOnce) {
  Queue(15);
  Serve(10, kSecond);  // five left, one a second
  const Status refused = SubmitWithin(4 * kSecond);
  EXPECT_EQ(refused.code(), StatusCode::kDeadlineExceeded);
  ASSERT_NE(refused.detail(), nullptr);
  EXPECT_EQ(refused.detail()->reason, "DEADLINE");
  EXPECT_EQ(refused.detail()->metadata[0],
            (std::pair<std::string, std::string>("estimated_wait_ms", "5000")));
  EXPECT_EQ(inbox_.counts().accepted, 15U);
  EXPECT_EQ(inbox_.counts().live, 5);
  EXPECT_TRUE(SubmitWithin(6 * kSecond).ok());
}

TEST_F(InboxDeadlineTest, WithoutHistoryNobodyIsRefused) {
  Queue(15);
  Serve(QueuePace::kMinDepartures - 1, 100 * kSecond / 15);
  EXPECT_TRUE(SubmitWithin(1).ok());
}

TEST_F(InboxDeadlineTest, OldHistoryIsNone) {
  Queue(15);
  Serve(10, kSecond);
  clock_.AdvanceUs(QueuePace::kMaxAgeUs);
  EXPECT_TRUE(SubmitWithin(1).ok());
}

TEST_F(InboxDeadlineTest, WithoutBacklogNobodyIsRefused) {
  Queue(15);
  Serve(9, kSecond);
  Serve(1, kSecond, /*backlog=*/false);
  EXPECT_TRUE(SubmitWithin(1).ok());
}

TEST_F(InboxDeadlineTest, OnlyThoseAheadCount) {
  Queue(15);
  Serve(10, kSecond);
  EXPECT_EQ(SubmitWithin(4 * kSecond, /*priority=*/0).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(SubmitWithin(4 * kSecond, /*priority=*/-10).ok());
}

TEST_F(InboxDeadlineTest, APartialAnswerIsNotRefused) {
  Queue(15);
  Serve(10, kSecond);
  RequestSpec spec = Spec(900, clock_.NowUs() + 1);
  spec.deadline_is_soft = true;
  EXPECT_TRUE(inbox_.Submit(spec).ok());
}

TEST_F(InboxDeadlineTest, OneThatPassedIsRefusedWithoutHistory) {
  const Status refused = inbox_.Submit(Spec(1, clock_.NowUs()));
  EXPECT_EQ(refused.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(inbox_.counts().accepted, 0U);
  RequestSpec soft = Spec(2, clock_.NowUs());
  soft.deadline_is_soft = true;
  EXPECT_TRUE(inbox_.Submit(soft).ok());
}

TEST_F(InboxDeadlineTest, CancelledOnesAreNoPace) {
  Queue(30);
  Serve(7, kSecond);
  for (int i = 0; i < 10; ++i) {
    clock_.AdvanceUs(kSecond);
    SchedulerChanges changes;
    changes.dequeued.push_back({served_, false});
    changes.ended.push_back(served_++);
    inbox_.Settle(changes, /*backlog=*/true, 0);
  }
  EXPECT_TRUE(SubmitWithin(1).ok());
}

TEST_F(InboxDeadlineTest, OthersQueuesDoNotCount) {
  Queue(15);
  Serve(10, kSecond);
  RequestSpec spec = Spec(900, clock_.NowUs() + kSecond / 2);
  spec.tenant = 7;
  EXPECT_TRUE(inbox_.Submit(spec).ok());
}

// How much of the queue is whose.
class InboxShareTest : public ::testing::Test {
 protected:
  // Submits of `tenant` until one is refused; how many were taken.
  int Fill(TenantId tenant, size_t prompt_tokens = 3) {
    for (int taken = 0; taken < 1000; ++taken) {
      RequestSpec spec = Spec(next_++);
      spec.tenant = tenant;
      spec.prompt.resize(prompt_tokens, 1);
      last_ = inbox_->Submit(std::move(spec));
      if (!last_.ok()) return taken;
    }
    return -1;
  }
  void Limit(int32_t requests, int64_t tokens, double share) {
    EngineOptions options = Options();
    options.queue.max_requests = requests;
    options.queue.max_tokens = tokens;
    options.queue.tenant_share = share;
    inbox_.emplace(options, 1000, clock_);
  }

  ManualClock clock_;
  std::optional<Inbox> inbox_;
  Status last_;
  RequestId next_ = 1;
};

TEST_F(InboxShareTest, EveryTenantLeavesRoomForAnother) {
  Limit(100, 1 << 20, 0.5);
  EXPECT_EQ(Fill(1), 50);
  EXPECT_EQ(last_.code(), StatusCode::kResourceExhausted);
  ASSERT_NE(last_.detail(), nullptr);
  EXPECT_EQ(last_.detail()->reason, "QUEUE_FULL");
  EXPECT_GT(last_.detail()->retry_after_ms, 0);
  EXPECT_EQ(Fill(2), 25);
  EXPECT_EQ(Fill(3), 12);
  // What leaves makes room for whoever holds less than his part of what there is now.
  SchedulerChanges changes;
  for (RequestId id = 1; id <= 50; ++id) changes.dequeued.push_back({id, true});
  inbox_->Settle(changes, true, 0);
  EXPECT_GT(Fill(3), 10);
}

TEST_F(InboxShareTest, TokensAreSharedToo) {
  Limit(1000, 300, 0.5);
  EXPECT_EQ(Fill(1, 10), 15);
  EXPECT_EQ(Fill(2, 10), 7);
}

TEST_F(InboxShareTest, WithoutTenantsOrWithAShareOfOneTheQueueIsWhole) {
  Limit(100, 1 << 20, 0.5);
  EXPECT_EQ(Fill(0), 100);
  Limit(100, 1 << 20, 1);
  EXPECT_EQ(Fill(1), 100);
}

// However little there is, the first of a tenant fits if anything does.
TEST_F(InboxShareTest, OneIsAlwaysWithinTheShare) {
  Limit(2, 10, 0.01);
  EXPECT_EQ(Fill(1, 9), 1);
}

// The whole engine, turn by turn: what it refuses is never computed.
TEST(EngineDeadlineTest, ImpossibleDeadlinesCostNoStep) {
  ManualClock clock;
  SimpleExecutor executor(1);
  RecordingSink sink;
  EngineCore core(Options(), executor, sink, clock, HashKey{1, 2}, nullptr);
  InboxBatch batch;
  const auto turn = [&] {
    core.inbox().Drain(Inbox::Wait::kNone, batch);
    core.Handle(batch);
    core.Turn();
    clock.AdvanceUs(1000);
  };
  for (RequestId id = 1; id <= 40; ++id) ASSERT_TRUE(core.inbox().Submit(Spec(id)).ok());
  while (core.Stats().choices_finished[static_cast<size_t>(FinishReason::kLength)] < 20) turn();
  int refused = 0;
  for (RequestId id = 100; id < 150; ++id) {
    const Status status = core.inbox().Submit(Spec(id, clock.NowUs() + 5000));
    refused += status.code() == StatusCode::kDeadlineExceeded ? 1 : 0;
  }
  EXPECT_EQ(refused, 50);
  // Four tokens each take four turns; those who can wait are served in time.
  EXPECT_TRUE(core.inbox().Submit(Spec(200, clock.NowUs() + 200'000)).ok());
  while (!core.idle()) turn();
  EXPECT_EQ(sink.WaitForFinish(200), FinishReason::kLength);
  EXPECT_EQ(core.Stats().generation_tokens, 41U * 4);
  EXPECT_EQ(core.Stats().prompt_tokens, 41U * 3);
}

}  // namespace
}  // namespace inferd::testing
