#include "sched/scheduler.h"

#include "sched/scheduler_driver.h"

namespace inferd::testing {
namespace {

TEST(SchedulerTest, NothingToDo) {
  SchedulerDriver d;
  EXPECT_EQ(d.Plan(), nullptr);
}

TEST(SchedulerTest, ChunksAPromptAndDrawsAtItsEnd) {
  SchedulerDriver d;
  d.Add(1, 20, 2);
  for (const auto& [start, count, sample] :
       {std::tuple{0, 8, 0}, std::tuple{8, 8, 0}, std::tuple{16, 4, 1}}) {
    const auto plan = d.Step();
    ASSERT_EQ(plan->entries.size(), 1U);
    EXPECT_EQ(plan->entries[0].start, start);
    EXPECT_EQ(plan->entries[0].count, count);
    EXPECT_EQ(plan->entries[0].sample, sample);
  }
  const auto last = d.Step();
  EXPECT_EQ(last->entries[0].start, 20);
  EXPECT_EQ(last->entries[0].num_new_blocks, 1);
  EXPECT_TRUE(last->tokens.empty());
  EXPECT_EQ(d.TextOf(1), (std::vector<TokenId>{520, 521}));
  EXPECT_EQ(d.EndOf(1), FinishReason::kLength);
  EXPECT_EQ(d.scheduler.kv().num_used(), 0);
}

TEST(SchedulerTest, DecodesComeBeforePrompts) {
  SchedulerDriver d;
  d.Add(1, 3, 9);
  d.Add(2, 3, 9);
  d.Step();
  d.Add(3, 30, 9, /*priority=*/-5);
  const auto plan = d.Step();
  ASSERT_EQ(plan->entries.size(), 3U);
  EXPECT_EQ(plan->entries[0].count, 1);
  EXPECT_EQ(plan->entries[1].count, 1);
  EXPECT_EQ(plan->entries[2].count, 6);
  EXPECT_EQ(plan->NumTokens(), 8);
  // The prompt goes on, and still after the others.
  const auto next = d.Step();
  ASSERT_EQ(next->entries.size(), 3U);
  EXPECT_EQ(next->entries[2].start, 6);
  EXPECT_EQ(next->entries[2].count, 6);
}

TEST(SchedulerTest, OrderIsPriorityThenArrival) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_running = 1;
  SchedulerDriver d(options);
  d.Add(1, 3, 1, 1);
  d.Add(2, 3, 1, 0);
  d.Add(3, 3, 1, 0);
  d.Add(4, 3, 1, -1);
  for (const RequestId id : {4, 2, 3, 1}) {
    d.Step();
    EXPECT_EQ(d.EndOf(id), FinishReason::kLength) << id;
    d.scheduler.ClearOutputs();
  }
}

TEST(SchedulerTest, ALargeHeadIsNotOvertaken) {
  SchedulerDriver d;  // 16 blocks
  d.Add(1, 30, 9);
  while (d.TextOf(1).empty()) d.Step();
  d.Add(2, 40, 2);  // 10 blocks, 8 are free
  d.Add(3, 3, 2);
  const auto plan = d.Step();
  EXPECT_EQ(plan->entries.size(), 1U);
  EXPECT_EQ(d.scheduler.num_waiting(), 2);
  while (d.EndOf(1) == FinishReason::kNone) d.Step();
  d.Step();
  EXPECT_EQ(d.scheduler.num_waiting(), 1);
}

// Their prompts cost no step anything, but every plan carries them.
TEST(SchedulerTest, APlanAdmitsOnlySoManyTokensOfCachedPrompts) {
  constexpr int32_t kPrompt = 100'000;
  SchedulerOptions options = SmallSchedulerOptions();
  options.num_blocks = 4'000;
  options.block_size = 64;
  options.max_running = 8;
  options.max_batched_tokens = kPrompt + 100;
  options.max_model_len = kPrompt + 100;
  SchedulerDriver d(options);
  d.Add(1, kPrompt, 2, 0, 1, /*first_token=*/7);
  d.Step();
  for (RequestId id = 2; id <= 8; ++id) d.Add(id, kPrompt, 2, 0, 1, /*first_token=*/7);
  EXPECT_EQ(d.Step()->admitted.size(), 3U);  // 262144 tokens are passed by the third
  EXPECT_EQ(d.Step()->admitted.size(), 3U);
  EXPECT_EQ(d.Step()->admitted.size(), 1U);
}

TEST(SchedulerTest, SiblingsWaitForThePromptAndShareIt) {
  SchedulerDriver d;
  d.Add(1, 9, 3, 0, /*choices=*/3);
  auto plan = d.Step();
  EXPECT_EQ(plan->admitted.size(), 1U);
  EXPECT_EQ(d.scheduler.num_waiting(), 2);
  d.Step();  // the last token of the prompt
  EXPECT_EQ(d.scheduler.num_waiting(), 2);
  plan = d.Plan();
  ASSERT_EQ(plan->admitted.size(), 2U);
  EXPECT_EQ(plan->entries[1].start, 8);
  EXPECT_EQ(plan->entries[1].count, 1);
  EXPECT_EQ(plan->admitted[0].sampling.seed, ChoiceSeed(0, 1));
  // Two blocks in common, and one each.
  EXPECT_EQ(d.scheduler.kv().num_used(), 5);
  d.Commit();
  while (d.Step() != nullptr) {
  }
  for (int32_t choice = 0; choice < 3; ++choice) {
    EXPECT_EQ(d.EndOf(1, choice), FinishReason::kLength);
    EXPECT_EQ(d.TextOf(1, choice).size(), 3U);
  }
  EXPECT_EQ(d.scheduler.num_requests(), 0);
  EXPECT_EQ(d.scheduler.counters().prompt_tokens, 27U);
  EXPECT_EQ(d.scheduler.counters().prompt_tokens_cached, 16U);
}

TEST(SchedulerTest, SiblingsStartAtOnceWithNothingToShare) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_batched_tokens = 64;
  options.prefix_caching = false;
  SchedulerDriver d(options);
  d.Add(1, 9, 3, 0, 3);
  EXPECT_EQ(d.Step()->admitted.size(), 3U);
  options.prefix_caching = true;
  SchedulerDriver short_prompt(options);
  short_prompt.Add(1, 4, 3, 0, 3);  // the last token is never shared: no full block is
  EXPECT_EQ(short_prompt.Step()->admitted.size(), 3U);
}

TEST(SchedulerTest, ALeaderThatEndsHandsOver) {
  SchedulerDriver d;
  d.Add(1, 20, 3, 0, 4);
  d.Plan();
  d.scheduler.FinishChoice(1, 2, FinishReason::kCancelled);  // held back
  d.scheduler.FinishChoice(1, 0, FinishReason::kCancelled);  // leads, in flight
  d.ExpectSound();
  EXPECT_EQ(d.scheduler.num_waiting(), 2);
  d.Commit();
  const auto plan = d.Step();
  EXPECT_EQ(plan->admitted.size(), 1U);
  while (d.Step() != nullptr) {
  }
  EXPECT_EQ(d.EndOf(1, 0), FinishReason::kCancelled);
  EXPECT_EQ(d.EndOf(1, 1), FinishReason::kLength);
  EXPECT_EQ(d.EndOf(1, 2), FinishReason::kCancelled);
  EXPECT_EQ(d.EndOf(1, 3), FinishReason::kLength);
}

// Two sequences of 8 tokens in 4 blocks of 4: the third block of the second is lacking.
SchedulerOptions TightOptions() {
  SchedulerOptions options = SmallSchedulerOptions();
  options.num_blocks = 6;
  options.max_batched_tokens = 32;
  return options;
}

TEST(SchedulerTest, PreemptsTheLastAndResumesIt) {
  SchedulerDriver d(TightOptions());
  d.Add(1, 7, 8);
  d.Add(2, 7, 8);
  EXPECT_EQ(d.Step()->entries.size(), 2U);  // 7 computed each, 4 of 5 blocks
  EXPECT_EQ(d.Step()->entries.size(), 2U);  // 8
  const auto plan = d.Step();               // the first takes the last block
  EXPECT_EQ(plan->entries.size(), 1U);
  EXPECT_EQ(d.scheduler.num_running(), 2);  // the second waits with what it has
  while (d.EndOf(1) == FinishReason::kNone) d.Step();
  while (d.EndOf(2) == FinishReason::kNone) d.Step();
  EXPECT_EQ(d.TextOf(2).size(), 8U);
}

TEST(SchedulerTest, APreemptedSequenceBringsItsWholeHistory) {
  SchedulerOptions options = TightOptions();
  options.prefix_caching = false;
  SchedulerDriver d(options);
  d.Add(1, 7, 12);
  d.Add(2, 7, 5);
  bool resumed = false;
  while (const auto plan = d.Step()) {
    for (const AdmittedSequence& a : plan->admitted) {
      if (a.num_tokens == 7) continue;
      resumed = true;
      EXPECT_EQ(a.num_prompt, 7);
      EXPECT_EQ(plan->tokens[static_cast<size_t>(a.first_token)], 2000);
      EXPECT_EQ(plan->tokens[static_cast<size_t>(a.first_token) + 7], 507);
    }
  }
  EXPECT_TRUE(resumed);
  EXPECT_EQ(d.scheduler.counters().preemptions, 1U);
  EXPECT_EQ(d.TextOf(2), (std::vector<TokenId>{507, 508, 509, 510, 511}));
  EXPECT_EQ(d.TextOf(1).size(), 12U);
  EXPECT_EQ(d.scheduler.counters().prompt_tokens, 14U);
}

TEST(SchedulerTest, TooManyPreemptionsEndASequence) {
  SchedulerOptions options = TightOptions();
  options.max_preemptions = 0;
  SchedulerDriver d(options);
  d.Add(1, 7, 12);
  d.Add(2, 7, 12);
  while (d.Step() != nullptr) {
  }
  EXPECT_EQ(d.EndOf(1), FinishReason::kLength);
  EXPECT_EQ(d.EndOf(2), FinishReason::kPreempted);
}

TEST(SchedulerTest, NobodyInFlightIsPreemptedAndNobodyIsAdmitted) {
  SchedulerOptions options = TightOptions();
  options.num_blocks = 5;  // 4 blocks
  SchedulerDriver d(options);
  d.Add(1, 7, 8);
  d.Add(2, 7, 8);
  d.Add(3, 1, 1);
  d.Step();
  EXPECT_EQ(d.Plan()->entries.size(), 2U);  // computes token 8 of both: blocks are full
  const auto drained = d.Plan();            // both in flight, none may be preempted
  EXPECT_EQ(drained, nullptr);
  EXPECT_EQ(d.scheduler.counters().preemptions, 0U);
  d.Commit();
  const auto plan = d.Plan();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(d.scheduler.counters().preemptions, 1U);
  EXPECT_EQ(plan->entries.size(), 1U);
  EXPECT_EQ(plan->released.size(), 1U);
  EXPECT_TRUE(plan->admitted.empty());
}

TEST(SchedulerTest, DrawsAheadOfWhatTheHostKnows) {
  SchedulerDriver d;
  d.Add(1, 3, 3);
  EXPECT_EQ(d.Plan()->entries[0].input_on_device, 0);
  const auto second = d.Plan();
  EXPECT_EQ(second->entries[0].start, 3);
  EXPECT_EQ(second->entries[0].input_on_device, 1);
  EXPECT_NE(d.Plan(), nullptr);
  EXPECT_EQ(d.Plan(), nullptr);  // three draws are on their way: that is all
  d.Commit();
  d.Commit();
  d.Commit();
  EXPECT_EQ(d.TextOf(1).size(), 3U);
  EXPECT_EQ(d.scheduler.num_requests(), 0);
}

TEST(SchedulerTest, WhatWasDrawnAfterTheStopIsDropped) {
  SchedulerDriver d;
  RequestSpec spec;
  spec.id = 1;
  spec.prompt = {1, 2, 3};
  spec.stop.max_new_tokens = 9;
  spec.stop.stop_tokens = {503};
  d.scheduler.Add(std::move(spec), 0);
  d.Plan();
  d.Plan();
  d.Commit();
  EXPECT_EQ(d.EndOf(1), FinishReason::kStopToken);
  EXPECT_GT(d.scheduler.kv().num_used(), 0);  // R1: a plan still names its blocks
  EXPECT_EQ(d.scheduler.num_requests(), 1);
  d.Commit();
  EXPECT_EQ(d.TextOf(1), (std::vector<TokenId>{503}));
  EXPECT_EQ(d.scheduler.kv().num_used(), 0);
  EXPECT_EQ(d.scheduler.changes().ended, (std::vector<RequestId>{1}));
}

TEST(SchedulerTest, CancelWithNothingInFlightFreesAtOnce) {
  SchedulerDriver d;
  d.Add(1, 12, 9);
  d.Step();
  EXPECT_GT(d.scheduler.kv().num_used(), 0);
  d.scheduler.Finish(1, FinishReason::kCancelled);
  EXPECT_EQ(d.scheduler.kv().num_used(), 0);
  EXPECT_EQ(d.scheduler.num_requests(), 0);
  d.scheduler.Finish(1, FinishReason::kCancelled);
  EXPECT_EQ(d.Plan(), nullptr);
  // The ranks are told with the next plan.
  d.Add(2, 3, 1);
  EXPECT_EQ(d.Plan()->released.size(), 1U);
}

TEST(SchedulerTest, CorruptedOutputEndsTheSequenceUnpublished) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_batched_tokens = 32;
  SchedulerDriver d(options);
  d.Add(1, 12, 9, 0, 1, /*first_token=*/50);
  StepResult result = SchedulerDriver::Answer(*d.Plan());
  result.outputs[0].corrupted = true;
  result.outputs[0].token = -1;
  d.Commit(result);
  EXPECT_EQ(d.EndOf(1), FinishReason::kCorrupted);
  EXPECT_TRUE(d.TextOf(1).empty());
  EXPECT_EQ(d.scheduler.counters().corrupted, 1U);
  EXPECT_EQ(d.scheduler.kv().num_cached(), 0);
  d.Add(2, 12, 1, 0, 1, 50);
  EXPECT_EQ(d.Step()->entries[0].start, 0);
  d.Add(3, 12, 1, 0, 1, 50);
  EXPECT_EQ(d.Step()->entries[0].start, 8);
}

TEST(SchedulerTest, DeadlinesAndQueueTime) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.max_running = 1;
  SchedulerDriver d(options);
  d.Add(1, 3, 50);
  d.Step();
  RequestSpec patient;
  patient.id = 2;
  patient.prompt = {1, 2, 3};
  patient.queue_deadline_us = 100;
  d.scheduler.Add(std::move(patient), 0);
  RequestSpec spec;
  spec.id = 3;
  spec.prompt = {1};
  spec.deadline_us = 60;
  d.scheduler.Add(std::move(spec), 0);
  d.scheduler.Expire(59);
  EXPECT_EQ(d.EndOf(3), FinishReason::kNone);
  d.scheduler.Expire(60);
  EXPECT_EQ(d.EndOf(3), FinishReason::kDeadline);
  d.scheduler.Expire(99);
  EXPECT_EQ(d.EndOf(2), FinishReason::kNone);
  d.scheduler.Expire(100);
  EXPECT_EQ(d.EndOf(2), FinishReason::kQueueTimeout);
  EXPECT_EQ(d.EndOf(1), FinishReason::kNone);  // it runs
  EXPECT_EQ(d.scheduler.waiting_prompt_tokens(), 0);
}

TEST(SchedulerTest, CommitRefusesWhatDoesNotAnswerThePlan) {
  SchedulerDriver d;
  d.Add(1, 2, 5);
  d.Add(2, 2, 5);
  const auto plan = d.Plan();
  const StepResult good = SchedulerDriver::Answer(*plan);
  auto refused = [&](auto change) {
    StepResult bad = good;
    change(bad);
    const Status status = d.scheduler.Commit(bad);
    d.ExpectSound();
    return !status.ok();
  };
  EXPECT_TRUE(refused([](StepResult& r) { r.step = 9; }));
  EXPECT_TRUE(refused([](StepResult& r) { r.outputs.pop_back(); }));
  EXPECT_TRUE(refused([](StepResult& r) { r.outputs.push_back(r.outputs[0]); }));
  EXPECT_TRUE(refused([](StepResult& r) { std::swap(r.outputs[0], r.outputs[1]); }));
  EXPECT_TRUE(refused([](StepResult& r) { r.outputs[0].token = -1; }));
  EXPECT_TRUE(refused([](StepResult& r) { r.outputs[0].num_top = 1; }));
  EXPECT_TRUE(refused([](StepResult& r) { r.outputs[0].first_top = -1; }));
  EXPECT_TRUE(refused([](StepResult& r) { r.error = InternalError("lost"); }));
  EXPECT_TRUE(d.TextOf(1).empty());
  d.Commit(good);
  EXPECT_EQ(d.TextOf(1).size(), 1U);
}

TEST(SchedulerTest, AbandonInFlightLetsGoOfEverything) {
  SchedulerDriver d;
  d.Add(1, 3, 5);
  d.Add(2, 12, 5, 0, 3);
  d.Plan();
  d.Plan();
  d.scheduler.FinishAll(FinishReason::kEngineDead);
  d.ExpectSound();
  EXPECT_GT(d.scheduler.kv().num_used(), 0);
  d.scheduler.AbandonInFlight();
  d.ExpectSound();
  EXPECT_EQ(d.scheduler.kv().num_used(), 0);
  EXPECT_EQ(d.scheduler.num_requests(), 0);
  EXPECT_EQ(d.scheduler.changes().ended.size(), 2U);
  EXPECT_EQ(d.EndOf(2, 2), FinishReason::kEngineDead);
}

// Four sequences that decode, three plans in flight: two, two and none are left.
TEST(SchedulerTest, MicroBatchesShareTheDecodesAndCarryTheirTokens) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.micro_batches = 3;
  SchedulerDriver d(options);
  for (RequestId id = 1; id <= 4; ++id) d.Add(id, 2, 6);
  d.Step();  // four prompts of two tokens
  const auto first = d.Plan();
  const auto second = d.Plan();
  EXPECT_EQ(d.Plan(), nullptr);
  ASSERT_EQ(first->entries.size(), 2U);
  ASSERT_EQ(second->entries.size(), 2U);
  for (const auto& plan : {first, second}) {
    for (const StepEntry& e : plan->entries) {
      EXPECT_EQ(e.input_on_device, 0);
      EXPECT_EQ(e.input_token, 502);  // as the driver drew it
    }
  }
  d.Commit();
  // Those of the first plan again; the others are not back yet.
  const auto third = d.Plan();
  ASSERT_EQ(third->entries.size(), 2U);
  EXPECT_EQ(third->entries[0].slot, first->entries[0].slot);
  EXPECT_EQ(third->entries[0].input_token, 503);
}

TEST(SchedulerTest, MicroBatchesLetAPromptGoOnFromPlanToPlan) {
  SchedulerOptions options = SmallSchedulerOptions();
  options.micro_batches = 3;
  SchedulerDriver d(options);
  d.Add(1, 20, 3);
  const auto first = d.Plan();
  const auto second = d.Plan();
  const auto third = d.Plan();
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(second->entries[0].start, 8);
  EXPECT_EQ(third->entries[0].sample, 1);
  EXPECT_EQ(third->entries[0].input_token, -1);
  EXPECT_EQ(d.Plan(), nullptr);  // its first token is not known yet
}

}  // namespace
}  // namespace inferd::testing
