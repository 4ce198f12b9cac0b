#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "inferd/model/model_shard.h"
#include "model/shard_rules.h"

namespace inferd::model {
namespace {

ModelConfig Config() {
  ModelConfig c;
  c.hidden_size = 64;
  c.num_layers = 7;
  c.num_heads = 8;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.intermediate_size = 96;
  c.vocab_size = 256;
  return c;
}

TEST(SplitLayersTest, TheHeadCountsForTheLastStage) {
  ModelConfig c = Config();
  c.vocab_size = 8;  // hardly any head
  EXPECT_EQ(SplitLayers(c, 1), std::vector<int32_t>{7});
  EXPECT_EQ(SplitLayers(c, 2), (std::vector<int32_t>{4, 3}));
  EXPECT_EQ(SplitLayers(c, 3), (std::vector<int32_t>{3, 3, 1}));
  EXPECT_EQ(SplitLayers(c, 7), (std::vector<int32_t>{1, 1, 1, 1, 1, 1, 1}));
  // A layer has 64 * (20 * 8 + 288) weights: the head is worth four of them.
  c.vocab_size = 4 * 448;
  EXPECT_EQ(SplitLayers(c, 2), (std::vector<int32_t>{6, 1}));
  for (int stages = 1; stages <= 7; ++stages) {
    const std::vector<int32_t> layers = SplitLayers(c, stages);
    EXPECT_EQ(std::accumulate(layers.begin(), layers.end(), 0), 7);
  }
}

TEST(ShardModelTest, RefusesWhatDoesNotDivide) {
  const auto refusal = [](const ParallelShape& shape) {
    const auto shard = ShardModel(Config(), RankPlace{shape, 0, 0});
    return shard.ok() ? std::string() : std::string(shard.status().message());
  };
  EXPECT_EQ(refusal({4, 1, 2}), "");
  EXPECT_EQ(refusal({8, 1, 1}), "");
  EXPECT_NE(refusal({3, 1, 1}).find("8 query heads"), std::string::npos);
  EXPECT_NE(refusal({1, 3, 1}).find("64 hidden features"), std::string::npos);
  EXPECT_NE(refusal({1, 1, 8}).find("7 layers"), std::string::npos);
  EXPECT_NE(refusal({0, 1, 1}).find("1 to 32 ranks"), std::string::npos);
  EXPECT_NE(refusal({33, 1, 1}).find("1 to 32 ranks"), std::string::npos);
  // In shares of whole eights the last of 32 ranks would have none of 200.
  ModelConfig few = Config();
  few.vocab_size = 200;
  EXPECT_FALSE(ShardModel(few, PlaceOf({8, 4, 1}, 0)).ok());
}

TEST(ShardModelTest, TakesLayersAsTheyAreStated) {
  const std::vector<int32_t> stated = {1, 4, 2};
  const ModelShard shard = ShardModel(Config(), PlaceOf({2, 1, 3}, 4), stated).value();
  EXPECT_EQ(shard.first_layer, 5);
  EXPECT_EQ(shard.local.num_layers, 2);
  for (const std::vector<int32_t>& wrong : {std::vector<int32_t>{1, 4, 3}, {0, 5, 2}}) {
    EXPECT_FALSE(ShardModel(Config(), PlaceOf({2, 1, 3}, 4), wrong).ok());
  }
}

// Every weight is on as many ranks of a stage as it should be: on one, or a KV head on
// all rows that have query heads of it.
TEST(BlockOfTest, BlocksCoverEveryLayer) {
  for (const ParallelShape& shape :
       {ParallelShape{1, 1, 1}, ParallelShape{2, 1, 1}, ParallelShape{4, 1, 1},
        ParallelShape{8, 1, 1}, ParallelShape{2, 2, 1}, ParallelShape{4, 2, 1},
        ParallelShape{1, 4, 1}}) {
    SCOPED_TRACE(ShapeText(shape));
    const ModelConfig c = Config();
    const auto count = [&](LinearRole role, int64_t out, int64_t in) {
      std::vector<int> holders(static_cast<size_t>(out * in));
      for (int r = 0; r < shape.tp(); ++r) {
        const ModelShard shard = ShardModel(c, PlaceOf(shape, r)).value();
        const LinearBlock b = BlockOf(shard, role, out, in);
        for (int64_t o = b.out_begin; o < b.out_begin + b.out_count; ++o) {
          for (int64_t i = b.in_begin; i < b.in_begin + b.in_count; ++i) {
            ++holders[static_cast<size_t>(o * in + i)];
          }
        }
      }
      return std::set<int>(holders.begin(), holders.end());
    };
    EXPECT_EQ(count(LinearRole::kQuery, 64, 64), std::set<int>{1});
    EXPECT_EQ(count(LinearRole::kOutput, 64, 64), std::set<int>{1});
    EXPECT_EQ(count(LinearRole::kGateUp, 96, 64), std::set<int>{1});
    EXPECT_EQ(count(LinearRole::kDown, 64, 96), std::set<int>{1});
    EXPECT_EQ(count(LinearRole::kHead, 256, 64), std::set<int>{1});
    EXPECT_EQ(count(LinearRole::kKeyValue, 16, 64), std::set<int>{std::max(1, shape.tp_rows / 2)});
  }
}

// The KV head of a row is the one that its query heads read.
TEST(BlockOfTest, QueryHeadsAreBesideTheirKvHead) {
  const ModelConfig c = Config();
  for (const int rows : {1, 2, 4, 8}) {
    for (int r = 0; r < rows; ++r) {
      const ModelShard shard = ShardModel(c, PlaceOf({rows, 1, 1}, r)).value();
      const LinearBlock q = BlockOf(shard, LinearRole::kQuery, 64, 64);
      const LinearBlock kv = BlockOf(shard, LinearRole::kKeyValue, 16, 64);
      for (int64_t head = 0; head < shard.local.num_heads; ++head) {
        const int64_t whole = q.out_begin / c.head_dim + head;
        const int64_t local_kv = head / (shard.local.num_heads / shard.local.num_kv_heads);
        EXPECT_EQ(kv.out_begin / c.head_dim + local_kv, whole / (c.num_heads / c.num_kv_heads))
            << rows << " rows, rank " << r;
      }
    }
  }
}

TEST(GroupOfBlockTest, EdgesMeetGroups) {
  EXPECT_EQ(GroupOfBlock({0, 8, 64, 64}, 32), 32);
  EXPECT_EQ(GroupOfBlock({0, 8, 64, 64}, 64), 64);
  EXPECT_EQ(GroupOfBlock({0, 8, 64, 64}, 128), 64);  // half of one
  EXPECT_EQ(GroupOfBlock({0, 8, 48, 48}, 32), 0);
  EXPECT_EQ(GroupOfBlock({0, 8, 48, 48}, 128), 0);
  EXPECT_EQ(GroupOfBlock({0, 8, 2752, 2752}, 128), 0);  // 11008 in four
}

}  // namespace
}  // namespace inferd::model
