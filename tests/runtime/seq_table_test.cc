#include "runtime/seq_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <tuple>

#include "runtime/step_builder.h"

namespace inferd {
namespace {

using runtime::RankLimits;
using runtime::SeqTable;
using runtime::StepBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RankLimits Limits() {
  return {.max_running = 3,
          .max_batched_tokens = 12,
          .max_model_len = 16,
          .block_size = 4,
          .num_blocks = 10,
          .vocab_size = 50};
}

void Admit(BatchPlan* plan, SlotId slot, std::vector<TokenId> tokens, int32_t num_prompt = -1) {
  AdmittedSequence a;
  a.slot = slot;
  a.first_token = static_cast<int32_t>(plan->tokens.size());
  a.num_tokens = static_cast<int32_t>(tokens.size());
  a.num_prompt = num_prompt < 0 ? a.num_tokens : num_prompt;
  plan->tokens.insert(plan->tokens.end(), tokens.begin(), tokens.end());
  plan->admitted.push_back(a);
}

void Enter(BatchPlan* plan, SlotId slot, int32_t start, int32_t count, std::vector<BlockId> blocks,
           bool sample) {
  StepEntry e;
  e.slot = slot;
  e.start = start;
  e.count = count;
  e.first_new_block = static_cast<int32_t>(plan->new_blocks.size());
  e.num_new_blocks = static_cast<uint16_t>(blocks.size());
  e.sample = sample ? 1 : 0;
  plan->new_blocks.insert(plan->new_blocks.end(), blocks.begin(), blocks.end());
  plan->entries.push_back(e);
}

// Two sequences: slot 0 whole and sampling, slot 2 its first chunk.
BatchPlan First() {
  BatchPlan plan;
  plan.step = 1;
  Admit(&plan, 0, {5, 6, 7});
  Admit(&plan, 2, {8, 9, 10, 11, 12, 13}, 4);
  Enter(&plan, 0, 0, 3, {4}, true);
  Enter(&plan, 2, 0, 5, {7, 2}, false);
  return plan;
}

TEST(SeqTableTest, FollowsThePlans) {
  SeqTable table(Limits());
  ASSERT_TRUE(table.Apply(First()).ok());
  table.Append(0, 20);
  EXPECT_TRUE(table.CheckIntegrity().ok());
  EXPECT_THAT(table.at(0).history, ElementsAre(5, 6, 7, 20));
  EXPECT_THAT(table.at(2).table, ElementsAre(7, 2));
  EXPECT_EQ(table.at(2).computed, 5);
  EXPECT_FALSE(table.at(1).live);

  BatchPlan second;
  second.step = 2;
  Enter(&second, 2, 5, 1, {}, true);
  Enter(&second, 0, 3, 1, {}, true);
  ASSERT_TRUE(table.Apply(second).ok());
  table.Append(2, 21);
  table.Append(0, 22);

  // Slot 0 is released and taken again in one plan.
  BatchPlan third;
  third.step = 7;
  third.released = {0};
  Admit(&third, 0, {1});
  Enter(&third, 0, 0, 1, {4}, true);
  ASSERT_TRUE(table.Apply(third).ok());
  EXPECT_THAT(table.at(0).history, ElementsAre(1));
  EXPECT_THAT(table.at(0).table, ElementsAre(4));
  EXPECT_TRUE(table.CheckIntegrity().ok());
}

TEST(SeqTableTest, APrefixHitStartsAnywhere) {
  SeqTable table(Limits());
  BatchPlan plan;
  plan.step = 1;
  Admit(&plan, 1, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  Enter(&plan, 1, 8, 1, {3, 5, 6}, true);
  EXPECT_TRUE(table.Apply(plan).ok());
}

// A rank that does not draw learns the tokens from the entries; one that does compares.
TEST(SeqTableTest, EntriesBringTokensThatWereDrawnElsewhere) {
  SeqTable table(Limits());
  ASSERT_TRUE(table.Apply(First()).ok());
  const auto decode = [](StepId step, int32_t start, TokenId token) {
    BatchPlan plan;
    plan.step = step;
    Enter(&plan, 0, start, 1, {}, true);
    plan.entries[0].input_token = token;
    return plan;
  };
  ASSERT_TRUE(table.Apply(decode(2, 3, 20)).ok());
  EXPECT_THAT(table.at(0).history, ElementsAre(5, 6, 7, 20));
  table.Append(0, 21);  // as if drawn here
  BatchPlan third = decode(3, 4, 21);
  third.new_blocks = {5};
  third.entries[0].num_new_blocks = 1;
  ASSERT_TRUE(table.Apply(third).ok());
  EXPECT_THAT(table.at(0).history, ElementsAre(5, 6, 7, 20, 21));
  table.Append(0, 22);
  EXPECT_THAT(table.Apply(decode(4, 5, 23)).message(), HasSubstr("another token than it has"));
}

TEST(SeqTableTest, TokensFromElsewhereAreChecked) {
  for (const auto& [start, token, names] :
       {std::tuple{3, 50, "outside the vocabulary"}, std::tuple{4, 20, "another token"}}) {
    SeqTable table(Limits());
    ASSERT_TRUE(table.Apply(First()).ok());
    BatchPlan plan;
    plan.step = 2;
    Enter(&plan, 0, start, 1, {}, true);
    plan.entries[0].input_token = token;
    EXPECT_THAT(table.Apply(plan).message(), HasSubstr(names)) << start;
  }
}

struct Violation {
  const char* what;
  std::function<void(BatchPlan&)> make;
  const char* names;
};

TEST(SeqTableTest, RefusesBrokenPlans) {
  // Each edits a good second step on top of First(): slot 0 decodes, slot 2 goes on.
  const std::vector<Violation> cases = {
      {"a slot named twice", [](BatchPlan& p) { p.entries.push_back(p.entries[0]); }, "twice"},
      {"an empty slot runs", [](BatchPlan& p) { p.entries[0].slot = 1; }, "runs while empty"},
      {"a slot out of range", [](BatchPlan& p) { p.entries[0].slot = 3; }, "runs while empty"},
      {"a negative slot", [](BatchPlan& p) { p.entries[0].slot = -1; }, "runs while empty"},
      {"released and still running", [](BatchPlan& p) { p.released = {0}; }, "runs while empty"},
      {"an empty slot released", [](BatchPlan& p) { p.released = {1}; }, "released while empty"},
      {"released twice",
       [](BatchPlan& p) {
         p.released = {2, 2};
       },
       "released while empty"},
      {"a slot out of range released", [](BatchPlan& p) { p.released = {9}; }, "while empty"},
      {"a taken slot admitted", [](BatchPlan& p) { Admit(&p, 0, {1}); }, "while taken"},
      {"a slot out of range admitted", [](BatchPlan& p) { Admit(&p, 3, {1}); }, "while taken"},
      {"no history", [](BatchPlan& p) { Admit(&p, 1, {}); }, "bad history"},
      {"too long a history", [](BatchPlan& p) { Admit(&p, 1, std::vector<TokenId>(17, 1)); },
       "bad history"},
      {"history beyond the tokens",
       [](BatchPlan& p) {
         Admit(&p, 1, {1});
         p.admitted[0].first_token = 1;
       },
       "bad history"},
      {"history at a huge place",
       [](BatchPlan& p) {
         Admit(&p, 1, {1});
         p.admitted[0].first_token = INT32_MAX;
       },
       "bad history"},
      {"more prompt than history", [](BatchPlan& p) { Admit(&p, 1, {1}, 2); }, "bad history"},
      {"a token outside the vocabulary", [](BatchPlan& p) { Admit(&p, 1, {50}); }, "vocabulary"},
      {"a negative token", [](BatchPlan& p) { Admit(&p, 1, {-1}); }, "vocabulary"},
      {"nothing to compute", [](BatchPlan& p) { p.entries[0].count = 0; }, "does not have"},
      {"more than it has", [](BatchPlan& p) { p.entries[0].count = 2; }, "does not have"},
      {"a huge count", [](BatchPlan& p) { p.entries[0].count = INT32_MAX; }, "does not have"},
      {"a negative start", [](BatchPlan& p) { p.entries[0].start = -1; }, "does not have"},
      {"a gap", [](BatchPlan& p) { p.entries[0].start = 2; }, "continue"},
      {"sampling too early",
       [](BatchPlan& p) {
         Admit(&p, 1, {1, 2, 3});
         Enter(&p, 1, 0, 2, {5}, true);
       },
       "before the end"},
      {"the padding block", [](BatchPlan& p) { p.new_blocks[0] = 0; }, "does not exist"},
      {"a block out of range", [](BatchPlan& p) { p.new_blocks[0] = 10; }, "does not exist"},
      {"blocks beyond the list", [](BatchPlan& p) { p.entries[0].num_new_blocks = 9; }, "bad new"},
      {"blocks at a negative place", [](BatchPlan& p) { p.entries[0].first_new_block = -1; },
       "bad new"},
      {"a table too long",
       [](BatchPlan& p) {
         p.new_blocks = {1, 3, 5, 6};
         p.entries[0].num_new_blocks = 4;
       },
       "wrong length"},
      {"a table too short",
       [](BatchPlan& p) {
         Admit(&p, 1, {1, 2, 3, 4, 5});
         Enter(&p, 1, 0, 5, {5}, true);
       },
       "wrong length"},
      {"a step back", [](BatchPlan& p) { p.step = 1; }, "not after"},
      {"over the budget",
       [](BatchPlan& p) {
         Admit(&p, 1, std::vector<TokenId>(12, 1));
         Enter(&p, 1, 0, 12, {3, 5, 6}, true);
       },
       "budget"},
  };
  for (const Violation& c : cases) {
    SeqTable table(Limits());
    ASSERT_TRUE(table.Apply(First()).ok());
    table.Append(0, 20);
    BatchPlan plan;
    plan.step = 2;
    Enter(&plan, 0, 3, 1, {8}, true);
    c.make(plan);
    const Status status = table.Apply(plan);
    EXPECT_EQ(status.code(), StatusCode::kInternal) << c.what;
    EXPECT_THAT(status.message(), HasSubstr(c.names)) << c.what;
  }
}

TEST(StepBuilderTest, LaysOutRowsTablesAndSamples) {
  SeqTable table(Limits());
  StepBuilder builder(Limits());
  BatchPlan plan = First();
  plan.admitted[0].sampling.seed = 99;
  plan.admitted[0].sampling.min_tokens = 1;
  plan.admitted[0].sampling.banned_until_min = {2};
  ASSERT_TRUE(table.Apply(plan).ok());
  const StepInputs& inputs = builder.Build(plan, table);
  EXPECT_EQ(inputs.num_tokens, 8);
  EXPECT_EQ(inputs.num_sequences, 2);
  EXPECT_THAT(inputs.token_ids, ElementsAre(5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(inputs.positions, ElementsAre(0, 1, 2, 0, 1, 2, 3, 4));
  EXPECT_THAT(inputs.row_start, ElementsAre(0, 3, 8));
  EXPECT_THAT(inputs.context_len, ElementsAre(3, 5));
  EXPECT_EQ(inputs.table_stride, 2);
  EXPECT_THAT(inputs.block_tables, ElementsAre(4, 0, 7, 2));
  EXPECT_THAT(inputs.sample_rows, ElementsAre(2));
  ASSERT_EQ(builder.sample_rows().size(), 1U);
  EXPECT_EQ(builder.sample_rows()[0].position, 3U);
  EXPECT_EQ(builder.sample_rows()[0].seed, 99U);
  EXPECT_THAT(builder.sample_rows()[0].banned, ElementsAre(2));
  EXPECT_TRUE(builder.sample_rows()[0].history.empty());  // no penalties
  EXPECT_THAT(builder.sample_slots(), ElementsAre(0));
}

TEST(StepBuilderTest, FeedsTheDrawnToken) {
  SeqTable table(Limits());
  StepBuilder builder(Limits());
  BatchPlan first = First();
  first.admitted[0].sampling.repetition_penalty = 1.5F;
  first.admitted[0].sampling.min_tokens = 1;
  first.admitted[0].sampling.banned_until_min = {2};
  ASSERT_TRUE(table.Apply(first).ok());
  table.Append(0, 20);
  BatchPlan plan;
  plan.step = 2;
  Enter(&plan, 0, 3, 1, {}, true);
  plan.entries[0].input_on_device = 1;
  ASSERT_TRUE(table.Apply(plan).ok());
  const StepInputs& inputs = builder.Build(plan, table);
  EXPECT_THAT(inputs.token_ids, ElementsAre(20));
  EXPECT_THAT(inputs.positions, ElementsAre(3));
  EXPECT_THAT(inputs.context_len, ElementsAre(4));
  EXPECT_THAT(builder.sample_rows()[0].history, ElementsAre(5, 6, 7, 20));
  EXPECT_EQ(builder.sample_rows()[0].num_prompt, 3);
  EXPECT_TRUE(builder.sample_rows()[0].banned.empty());  // one token is out
}

// A token that is being drawn is named by its slot, and learned once.
TEST(StepBuilderTest, NamesTheTokenThatIsBeingDrawn) {
  SeqTable table(Limits());
  StepBuilder builder(Limits());
  BatchPlan first = First();
  first.admitted[0].sampling.repetition_penalty = 1.5F;
  ASSERT_TRUE(table.Apply(first).ok());
  table.Append(0, SeqTable::kUnknownToken);
  BatchPlan plan;
  plan.step = 2;
  Enter(&plan, 0, 3, 1, {}, true);
  plan.entries[0].input_on_device = 1;
  ASSERT_TRUE(table.Apply(plan).ok());
  EXPECT_THAT(builder.Build(plan, table).token_ids, ElementsAre(DrawnToken(0)));
  EXPECT_THAT(builder.sample_rows()[0].history, ElementsAre(5, 6, 7, -1));
  EXPECT_EQ(builder.sample_rows()[0].slot, 0);
  EXPECT_TRUE(table.Learn(0, 3, 20).ok());
  EXPECT_EQ(table.at(0).history.back(), 20);
  EXPECT_EQ(table.Learn(0, 3, 20).code(), StatusCode::kInternal);  // it is known
  EXPECT_EQ(table.Learn(0, 4, 20).code(), StatusCode::kInternal);
  EXPECT_EQ(table.Learn(2, 0, 20).code(), StatusCode::kInternal);  // nobody is there
  EXPECT_EQ(table.Learn(3, 0, 20).code(), StatusCode::kInternal);
}

TEST(StepBuilderTest, SamplesTheLastRowOfEachSequence) {
  SeqTable table(Limits());
  StepBuilder builder(Limits());
  BatchPlan plan;
  plan.step = 1;
  for (SlotId slot = 0; slot < 3; ++slot) {
    Admit(&plan, slot, {1, 2});
    Enter(&plan, slot, 0, 2, {slot + 1}, slot != 1);
  }
  ASSERT_TRUE(table.Apply(plan).ok());
  EXPECT_THAT(builder.Build(plan, table).sample_rows, ElementsAre(1, 5));
  EXPECT_THAT(builder.sample_slots(), ElementsAre(0, 2));
}

}  // namespace
}  // namespace inferd
