// How tenants share what is computed.
#include <algorithm>
#include <map>
#include <random>

#include "sched/scheduler_driver.h"

namespace inferd::testing {
namespace {

constexpr TenantId kFlood = 1;
constexpr TenantId kQuiet = 2;

SchedulerOptions Slots(int32_t max_running) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_running = max_running;
  options.prefix_caching = false;
  return options;
}

// What each tenant was served, from outside.
class Ledger {
 public:
  void Add(SchedulerDriver& d, RequestId id, TenantId tenant, int32_t prompt, int32_t answer,
           int32_t priority = 0) {
    requests_[id] = {tenant, prompt};
    ++live_[tenant];
    d.Add(id, prompt, answer, priority, 1, -1, tenant);
  }
  void Step(SchedulerDriver& d) {
    d.scheduler.ClearOutputs();
    d.Step();
    for (const SequenceOutput& output : d.scheduler.outputs()) {
      Request& request = requests_.at(output.request);
      served_[request.tenant] += kDrawnTokenCost + request.prompt * kPromptTokenCost;
      request.prompt = 0;  // counted once
      if (output.finish != FinishReason::kNone) --live_[request.tenant];
    }
  }
  int64_t served(TenantId tenant) { return served_[tenant]; }
  int live(TenantId tenant) { return live_[tenant]; }

 private:
  struct Request {
    TenantId tenant = 0;
    int64_t prompt = 0;
  };
  std::map<RequestId, Request> requests_;
  std::map<TenantId, int64_t> served_;
  std::map<TenantId, int> live_;
};

// Steps until `id` has ended; how many requests of others ended before.
int EndedBefore(SchedulerDriver& d, RequestId id, int max_steps = 10'000) {
  int others = 0;
  for (int step = 0; step < max_steps; ++step) {
    d.scheduler.ClearOutputs();
    d.Step();
    if (d.EndOf(id) != FinishReason::kNone) return others;
    for (const SequenceOutput& output : d.scheduler.outputs()) {
      if (output.finish != FinishReason::kNone) ++others;
    }
  }
  ADD_FAILURE() << "request " << id << " did not end";
  return others;
}

TEST(TenantShareTest, AFloodIsPassedByTheFirstOfAnotherTenant) {
  SchedulerDriver d(Slots(1));
  for (RequestId id = 1; id <= 500; ++id) d.Add(id, 3, 2, 0, 1, -1, kFlood);
  d.Step();  // one of them runs
  d.Add(1000, 3, 2, 0, 1, -1, kQuiet);
  EXPECT_LE(EndedBefore(d, 1000), 2);
}

TEST(TenantShareTest, OneTenantIsServedInOrder) {
  SchedulerDriver d(Slots(1));
  for (RequestId id = 1; id <= 50; ++id) d.Add(id, 3, 2, 0, 1, -1, kFlood);
  EXPECT_EQ(EndedBefore(d, 50), 49);
}

// Its own priority does not help a flood against others; nor do many choices.
TEST(TenantShareTest, PriorityOrdersOnlyWithinATenant) {
  SchedulerDriver d(Slots(1));
  for (RequestId id = 1; id <= 100; ++id) d.Add(id, 3, 2, /*priority=*/-1000, 3, -1, kFlood);
  d.Step();
  d.Add(1000, 3, 2, /*priority=*/1000, 1, -1, kQuiet);
  d.Add(1001, 3, 2, /*priority=*/0, 1, -1, kQuiet);
  EXPECT_LE(EndedBefore(d, 1001), 3);
  EXPECT_LE(EndedBefore(d, 1000), 12);  // the flood's share of what 1001 took
}

// Who was away has saved nothing up: it does not hold the others off afterwards.
TEST(TenantShareTest, ARestIsNoCredit) {
  SchedulerDriver d(Slots(1));
  RequestId id = 1;
  d.Add(id++, 3, 1, 0, 1, -1, kQuiet);
  for (int i = 0; i < 300; ++i) d.Add(id++, 3, 1, 0, 1, -1, kFlood);
  EXPECT_EQ(EndedBefore(d, 200), 199);
  const RequestId first = id;
  for (int i = 0; i < 100; ++i) d.Add(id++, 3, 1, 0, 1, -1, kQuiet);
  // One more of the flood: half of the turns are its own.
  EXPECT_LE(EndedBefore(d, 220), 2 * 20 + 2);
  EXPECT_LE(EndedBefore(d, first + 30), 2 * 31);
}

// Equal shares of tokens, not of requests: long answers get fewer turns.
TEST(TenantShareTest, SharesAreOfTokens) {
  SchedulerDriver d(Slots(2));
  Ledger ledger;
  RequestId id = 1;
  for (int step = 0; step < 4000; ++step) {
    while (ledger.live(kFlood) < 6) ledger.Add(d, id++, kFlood, 2, 30);
    while (ledger.live(kQuiet) < 6) ledger.Add(d, id++, kQuiet, 2, 1);
    ledger.Step(d);
  }
  EXPECT_GT(ledger.served(kFlood), 4000);
  EXPECT_NEAR(static_cast<double>(ledger.served(kFlood)),
              static_cast<double>(ledger.served(kQuiet)), 4 * (2 + 2 * 30));
}

// Whoever comes and goes, in any stretch of time: nobody is served more than a constant more
// than a tenant who had somebody waiting all the while.
TEST(TenantShareTest, ABackloggedTenantIsBehindByAConstantAtMost) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    std::mt19937_64 random(seed);
    const auto slots = static_cast<int32_t>(1 + random() % 4);
    constexpr TenantId kTenants = 4;
    constexpr int32_t kPrompt = 12, kAnswer = 8;
    SchedulerDriver d(Slots(slots));
    Ledger ledger;
    std::map<TenantId, int64_t> least;  // lead over tenant 1, so far
    RequestId id = 1;
    int64_t worst = 0;
    for (int step = 0; step < 1500; ++step) {
      for (TenantId tenant = 1; tenant <= kTenants; ++tenant) {
        const int most = tenant == 1 ? slots + 2 : static_cast<int>(random() % 20);
        while (ledger.live(tenant) < most) {
          ledger.Add(d, id++, tenant, static_cast<int32_t>(1 + random() % kPrompt),
                     static_cast<int32_t>(1 + random() % kAnswer),
                     static_cast<int32_t>(random() % 5));
        }
      }
      d.now_us += 10;
      ledger.Step(d);
      for (TenantId tenant = 2; tenant <= kTenants; ++tenant) {
        const int64_t lead = ledger.served(tenant) - ledger.served(1);
        least[tenant] = std::min(least[tenant], lead);
        worst = std::max(worst, lead - least[tenant]);
      }
    }
    // All slots full of the one's largest and none of the other's, and once more.
    EXPECT_LE(worst, 2 * slots * (kPrompt + 2 * kAnswer)) << seed;
    EXPECT_GT(ledger.served(1), 8 * worst) << seed;
  }
}

// Ever new tenants with small requests do not keep a large one out for ever.
TEST(TenantShareTest, ALargeHeadIsNotPassedForEver) {
  SchedulerDriver d(Slots(3));  // 16 blocks of 4
  RequestId id = 2;
  TenantId next_tenant = 10;
  for (int i = 0; i < 3; ++i) d.Add(id++, 9, 8, 0, 1, -1, next_tenant++);
  d.Add(1, 55, 2, 0, 1, -1, kFlood);
  int ended = 0;
  for (int step = 0; step < 2000 && d.EndOf(1) == FinishReason::kNone; ++step) {
    d.scheduler.ClearOutputs();
    d.Step();
    for (const SequenceOutput& output : d.scheduler.outputs()) {
      if (output.finish != FinishReason::kNone) ++ended;
    }
    while (d.scheduler.num_requests() < 6) d.Add(id++, 9, 8, 0, 1, -1, next_tenant++);
  }
  EXPECT_NE(d.EndOf(1), FinishReason::kNone);
  EXPECT_LE(ended, 8);
}

// One at a time, each: their accounts are kept between requests, or they would always come
// before one that was served more.
TEST(TenantShareTest, TenantsThatComeBackHaveTheirAccounts) {
  SchedulerDriver d(Slots(1));
  RequestId id = 1;
  // The first is served a lot, while nobody else is there.
  d.Add(id++, 40, 20, 0, 1, -1, kFlood);
  EXPECT_EQ(EndedBefore(d, 1), 0);
  const RequestId waits = id++;
  std::map<RequestId, TenantId> tenant_of;
  for (TenantId tenant = 10; tenant < 13; ++tenant) {
    tenant_of[id] = tenant;
    d.Add(id++, 2, 2, 0, 1, -1, tenant);
  }
  d.Add(waits, 2, 2, 0, 1, -1, kFlood);
  int passed = 0;
  for (int step = 0; step < 5000; ++step) {
    d.scheduler.ClearOutputs();
    d.Step();
    if (d.EndOf(waits) != FinishReason::kNone) break;
    for (const SequenceOutput& output : d.scheduler.outputs()) {
      if (output.finish == FinishReason::kNone) continue;
      ++passed;
      const TenantId tenant = tenant_of.at(output.request);
      tenant_of[id] = tenant;
      d.Add(id++, 2, 2, 0, 1, -1, tenant);
    }
  }
  EXPECT_NE(d.EndOf(waits), FinishReason::kNone);
  EXPECT_GT(passed, 3);
  EXPECT_LE(passed, 40);
}

}  // namespace
}  // namespace inferd::testing
