#include "sched/waiting_queue.h"

#include "gtest/gtest.h"

namespace inferd::testing {
namespace {

// One request of one choice in a queue.
class Waiter {
 public:
  Waiter(WaitingQueue& queue, TenantId tenant, uint64_t arrival, int64_t rank = 0) {
    request_.account = queue.Join(tenant);
    request_.choices.resize(1);
    sequence().request = &request_;
    sequence().key = {rank, arrival, 0};
  }
  Sequence& sequence() { return request_.choices[0]; }
  TenantAccount& account() { return *request_.account; }

 private:
  Request request_;
};

void ExpectSound(const WaitingQueue& queue) {
  const Status status = queue.CheckIntegrity();
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST(WaitingQueueTest, TheTurnIsTheTenantsServedLeast) {
  WaitingQueue queue;
  EXPECT_EQ(queue.Head(), nullptr);
  Waiter a1(queue, 1, 1), a2(queue, 1, 2), b(queue, 2, 3);
  for (Waiter* w : {&a1, &a2, &b}) queue.Insert(w->sequence());
  ExpectSound(queue);
  EXPECT_EQ(queue.Head(), &a1.sequence());  // as good as b, and older
  queue.Erase(a1.sequence());
  queue.Serve(a1.account(), 5);
  EXPECT_EQ(queue.Head(), &b.sequence());
  WaitingQueue::Charge(b.account(), 6);
  ExpectSound(queue);
  EXPECT_EQ(queue.Head(), &a2.sequence());
  EXPECT_TRUE(queue.Contains(b.sequence()));
  EXPECT_FALSE(queue.Contains(a1.sequence()));
  EXPECT_EQ(queue.size(), 2U);
  ExpectSound(queue);
}

TEST(WaitingQueueTest, ANewFirstTakesItsTenantsPlace) {
  WaitingQueue queue;
  Waiter a(queue, 1, 5), b(queue, 2, 4), urgent(queue, 1, 6, /*rank=*/-1);
  for (Waiter* w : {&a, &b, &urgent}) queue.Insert(w->sequence());
  EXPECT_EQ(queue.Head(), &urgent.sequence());
  ExpectSound(queue);
}

TEST(WaitingQueueTest, ThePreemptedGoFirstUnlessTheTurnIsAnOlders) {
  WaitingQueue queue;
  Waiter preempted(queue, 1, 5), younger(queue, 2, 6), older(queue, 3, 4);
  preempted.sequence().was_scheduled = true;
  queue.Serve(preempted.account(), 100);  // which does not matter any more
  queue.Insert(preempted.sequence());
  queue.Insert(younger.sequence());
  EXPECT_EQ(queue.Head(), &preempted.sequence());
  queue.Insert(older.sequence());
  EXPECT_EQ(queue.Head(), &older.sequence());
  ExpectSound(queue);
}

TEST(WaitingQueueTest, WhoDidNotFitKeepsTheTurn) {
  WaitingQueue queue;
  Waiter large(queue, 1, 1), other(queue, 2, 2), third(queue, 3, 3);
  WaitingQueue::Charge(large.account(), 10);
  queue.Insert(large.sequence());
  EXPECT_EQ(queue.Head(), &large.sequence());
  queue.Hold(large.sequence());
  queue.Insert(other.sequence());
  queue.Insert(third.sequence());
  EXPECT_EQ(queue.Head(), &large.sequence());
  ExpectSound(queue);
  queue.Erase(large.sequence());  // it ended
  ExpectSound(queue);
  EXPECT_EQ(queue.Head(), &other.sequence());
  queue.Hold(other.sequence());
  queue.Serve(other.account(), 1);  // another of its own was scheduled
  EXPECT_EQ(queue.Head(), &third.sequence());
  ExpectSound(queue);
}

TEST(WaitingQueueTest, AccountsAreKeptAsLongAsTheySaySomething) {
  WaitingQueue queue;
  TenantAccount* account = queue.Join(1);
  WaitingQueue::Charge(*account, 10);
  queue.Leave(account);
  ExpectSound(queue);
  EXPECT_EQ(queue.num_accounts(), 1U);
  account = queue.Join(1);
  EXPECT_EQ(account->served, 10);
  ExpectSound(queue);
  queue.Leave(account);
  TenantAccount* other = queue.Join(2);
  queue.Serve(*other, 10);
  EXPECT_EQ(queue.num_accounts(), 1U);
  ExpectSound(queue);
}

TEST(WaitingQueueTest, AccountsAreBounded) {
  WaitingQueue queue;
  for (TenantId tenant = 1; tenant <= WaitingQueue::kMaxIdle + 100; ++tenant) {
    TenantAccount* account = queue.Join(tenant);
    WaitingQueue::Charge(*account, static_cast<int64_t>(tenant));
    queue.Leave(account);
  }
  EXPECT_EQ(queue.num_accounts(), WaitingQueue::kMaxIdle);
  ExpectSound(queue);
  EXPECT_EQ(queue.Join(1)->served, 0);  // those that were served least are forgotten
}

}  // namespace
}  // namespace inferd::testing
