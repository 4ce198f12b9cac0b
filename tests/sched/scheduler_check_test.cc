// CheckIntegrity against each field it is there for.
#include <functional>
#include <string>

#include "sched/scheduler_driver.h"

namespace inferd {

class SchedulerPeer {
 public:
  explicit SchedulerPeer(Scheduler& scheduler) : s(scheduler) {}
  Sequence& choice(RequestId id, size_t i = 0) { return s.requests_.at(id)->choices[i]; }
  Request& request(RequestId id) { return *s.requests_.at(id); }
  auto& running() { return s.running_; }
  TenantAccount& account(RequestId id) { return *request(id).account; }
  auto& queue_size() { return s.waiting_.size_; }
  auto& turns() { return s.waiting_.order_; }
  auto& idle() { return s.waiting_.idle_; }
  // One that nobody is of.
  TenantAccount& idle_account() {
    static TenantAccount account;
    return account;
  }
  void hold(const TenantAccount& account) { s.waiting_.held_ = &account; }
  auto& leaving() { return s.leaving_; }
  auto& free_slots() { return s.free_slots_; }
  auto& held() { return s.num_held_; }
  auto& waiting_prompt_tokens() { return s.waiting_prompt_tokens_; }
  auto& records() { return s.records_; }

 private:
  Scheduler& s;
};

namespace testing {
namespace {

struct Case {
  const char* name;
  const char* complaint;
  std::function<void(SchedulerPeer&)> change;
};

class SchedulerCheck : public ::testing::TestWithParam<Case> {};

// Requests 1 and 2 run and are in flight; 3 leads a held sibling and waits for a slot;
// 4 has ended in flight.
TEST_P(SchedulerCheck, Notices) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_running = 3;
  SchedulerDriver d(options);
  d.Add(1, 2, 9);
  d.Add(2, 2, 9);
  d.Add(4, 2, 9);
  d.Add(3, 9, 9, 0, 2);
  d.Plan();
  d.scheduler.Finish(4, FinishReason::kCancelled);
  d.ExpectSound();
  SchedulerPeer peer(d.scheduler);
  GetParam().change(peer);
  const Status status = d.scheduler.CheckIntegrity();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find(GetParam().complaint), std::string::npos) << status.ToString();
}

INSTANTIATE_TEST_SUITE_P(Fields, SchedulerCheck,
                         ::
                             testing::Values(Case{"computed", "S1",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).num_computed = 9;
                                                  }},
                                             Case{"computed_below", "S1",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).num_computed = -1;
                                                  }},
                                             Case{"pending", "S3",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).num_pending = 3;
                                                  }},
                                             Case{"table", "S2",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).table.blocks.clear();
                                                  }},
                                             Case{"census", "references",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).table.blocks[0] = 12;
                                                  }},
                                             Case{"no_slot", "without a slot",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).slot = kNoSlot;
                                                  }},
                                             Case{"same_slot", "shares its slot",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(1).slot = p.choice(2).slot;
                                                  }},
                                             Case{"free_slot", "free slot",
                                                  [](SchedulerPeer& p) {
                                                    p.free_slots().push_back(0);
                                                  }},
                                             Case{"waiting_slot", "without running",
                                                  [](SchedulerPeer& p) { p.choice(3).slot = 1; }},
                                             Case{
                                                 "in_flight", "disagree",
                                                 [](SchedulerPeer& p) { ++p.choice(1).in_flight; }},
                                             Case{"record", "disagree",
                                                  [](SchedulerPeer& p) {
                                                    p.records().front().sequences[0] = nullptr;
                                                  }},
                                             Case{"not_reaped", "R2",
                                                  [](SchedulerPeer& p) {
                                                    p.choice(4).in_flight = 0;
                                                    p.choice(4).num_pending = 0;
                                                  }},
                                             Case{"running", "not listed",
                                                  [](SchedulerPeer& p) { p.running().pop_back(); }},
                                             Case{"running_order", "out of order",
                                                  [](SchedulerPeer& p) {
                                                    std::swap(p.running()[0], p.running()[1]);
                                                  }},
                                             Case{"waiting", "outside of the queue",
                                                  [](SchedulerPeer& p) {
                                                    p.account(3).waiting.clear();
                                                  }},
                                             Case{"turn", "has no turn",
                                                  [](SchedulerPeer& p) { p.turns().clear(); }},
                                             Case{"turn_of_nobody", "elsewhere",
                                                  [](SchedulerPeer& p) {
                                                    p.turns().emplace(std::pair(7, QueueKey{}),
                                                                      &p.account(3));
                                                  }},
                                             Case{"served", "too late",
                                                  [](SchedulerPeer& p) {
                                                    p.account(3).served = -1;
                                                  }},
                                             Case{
                                                 "requests", "miscounts its tenants",
                                                 [](SchedulerPeer& p) { ++p.account(3).requests; }},
                                             Case{"idle", "elsewhere",
                                                  [](SchedulerPeer& p) { p.idle().emplace(1, 1); }},
                                             Case{"held_turn", "for nobody",
                                                  [](SchedulerPeer& p) {
                                                    p.hold(p.idle_account());
                                                  }},
                                             Case{"leaving", "elsewhere",
                                                  [](SchedulerPeer& p) { p.leaving().clear(); }},
                                             Case{"held", "elsewhere",
                                                  [](SchedulerPeer& p) { ++p.held(); }},
                                             Case{"tokens", "waiting_prompt_tokens",
                                                  [](SchedulerPeer& p) {
                                                    ++p.waiting_prompt_tokens();
                                                  }},
                                             Case{"live", "miscounts",
                                                  [](SchedulerPeer& p) {
                                                    ++p.request(1).live_choices;
                                                  }},
                                             Case{
                                                 "unreaped", "miscounts",
                                                 [](SchedulerPeer&
                                                        p) { ++p.request(1).unreaped_choices; }},
                                             Case{
                                                 "stranded", "held back for nobody",
                                                 [](SchedulerPeer& p) {
                                                   p.choice(3).state = SequenceState::kHeld;
                                                   ++p.held();
                                                 }}),
                         [](const auto& field) { return std::string(field.param.name); });

}  // namespace
}  // namespace testing
}  // namespace inferd
