// What the ranks of a stage send each other for a step, counted, against what follows
// from the shapes: the table of docs/scaling.md.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "counting_link.h"
#include "golden_files.h"
#include "inferd/comm/thread_group.h"
#include "inferd/runtime/rank.h"

namespace inferd {
namespace {

using testing::CountingLink;
using testing::GoldenDir;
using testing::MakeTestBackend;

constexpr int32_t kTokens = 24;

// A prompt of kTokens, of which the last is sampled from.
BatchPlan Prompt() {
  BatchPlan plan;
  plan.step = 1;
  AdmittedSequence sequence;
  sequence.slot = 0;
  sequence.num_tokens = sequence.num_prompt = kTokens;
  sequence.sampling.temperature = 0.0F;
  plan.admitted.push_back(sequence);
  for (TokenId t = 0; t < kTokens; ++t) plan.tokens.push_back(t + 3);
  plan.new_blocks = {1, 2};
  StepEntry entry;
  entry.slot = 0;
  entry.count = kTokens;
  entry.num_new_blocks = 2;
  entry.sample = 1;
  plan.entries.push_back(entry);
  return plan;
}

// Links of a grid, every one counted.
struct CountedLinks {
  std::vector<std::unique_ptr<CountingLink>> ends;
  std::vector<RankLinks> links;

  CountedLinks(const ParallelShape& shape, const Clock& clock)
      : links(static_cast<size_t>(shape.tp())) {
    const int columns = shape.tp_columns;
    Connect(0, shape.tp(), 1, &RankLinks::tp, clock);
    for (int row = 0; columns > 1 && row < shape.tp_rows; ++row) {
      Connect(row * columns, columns, 1, &RankLinks::row, clock);
    }
    for (int column = 0; columns > 1 && column < columns; ++column) {
      Connect(column, shape.tp_rows, columns, &RankLinks::column, clock);
    }
  }
  void Connect(int first, int count, int stride, Communicator* RankLinks::*member,
               const Clock& clock) {
    if (count == 1) return;
    auto group = MakeThreadGroup(count, CommOptions(), clock).value();
    for (int i = 0; i < count; ++i) {
      ends.push_back(std::make_unique<CountingLink>(std::move(group[static_cast<size_t>(i)])));
      links[static_cast<size_t>(first + i * stride)].*member = ends.back().get();
    }
  }
  double BytesOf(int rank) const {
    const RankLinks& l = links[static_cast<size_t>(rank)];
    double bytes = 0;
    for (Communicator* link : {l.tp, l.row, l.column}) {
      if (link != nullptr) bytes += static_cast<CountingLink*>(link)->bytes;
    }
    return bytes;
  }
};

// Bytes a rank sends, by the formulas of docs/scaling.md.
double Derived(const ModelConfig& c, const ParallelShape& shape) {
  const double rows = shape.tp_rows;
  const double columns = shape.tp_columns;
  const double all = shape.tp();
  const double hidden = c.hidden_size;
  const auto part = [](double n) { return (n - 1) / n; };
  const double kv_heads = std::max(1.0, c.num_kv_heads / rows);
  const double qkv = (c.num_heads / rows + 2 * kv_heads) * c.head_dim;
  const double into = columns > 1 ? 2 * part(columns) : 0;
  const double out_of = columns > 1 ? 2 * part(rows) * hidden / columns + part(columns) * hidden
                                    : 2 * part(all) * hidden;
  const double attention = kTokens * (into * qkv + out_of);
  const double mlp = kTokens * (into * 2 * c.intermediate_size / rows + out_of);
  // In the last layer only the sampled row goes on past the keys and values.
  const double last = kTokens * into * qkv + out_of + mlp / kTokens;
  const double eights = std::floor((c.vocab_size / all + 7) / 8);
  const double logits = part(all) * eights * 8 * all;
  return sizeof(float) * ((c.num_layers - 1) * (attention + mlp) + last + logits);
}

class VolumeTest : public ::testing::TestWithParam<ParallelShape> {};

TEST_P(VolumeTest, IsWhatFollowsFromTheShapes) {
  const ParallelShape shape = GetParam();
  const SystemClock clock;
  CountedLinks counted(shape, clock);
  RankOptions options;
  options.model_dir = GoldenDir("mistral");
  options.memory.max_running = 2;
  options.memory.max_batched_tokens = 64;
  options.memory.num_blocks = 8;
  options.memory.kv_dtype = DType::kF32;
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::unique_ptr<Rank>> ranks;
  for (int r = 0; r < shape.tp(); ++r) {
    backends.push_back(MakeTestBackend("cpu", 1));
    ranks.push_back(LoadRank(options, PlaceOf(shape, r), counted.links[static_cast<size_t>(r)],
                             backends.back()->ops(), clock, nullptr)
                        .value());
  }
  std::vector<StepResult> results(ranks.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks.size(); ++r) {
    threads.emplace_back([&, r] { results[r] = ranks[r]->Run(Prompt()); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const StepResult& result : results) ASSERT_TRUE(result.error.ok());
  const ModelConfig& config = ranks[0]->info().config;
  std::printf("    %s: %.0f bytes a rank\n", ShapeText(shape).c_str(), counted.BytesOf(0));
  for (int r = 0; r < shape.tp(); ++r) {
    EXPECT_DOUBLE_EQ(counted.BytesOf(r), Derived(config, shape)) << "rank " << r;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, VolumeTest,
                         ::testing::Values(ParallelShape{2, 1, 1}, ParallelShape{4, 1, 1},
                                           ParallelShape{2, 2, 1}, ParallelShape{4, 2, 1},
                                           ParallelShape{8, 1, 1}));

}  // namespace
}  // namespace inferd
