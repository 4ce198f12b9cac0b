#include "kv/kv_manager.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace inferd {

class KvManagerPeer {
 public:
  static BlockPool& pool(KvManager& kv) { return kv.pool_; }
  static int32_t& num_cached(KvManager& kv) { return kv.num_cached_; }
};

namespace {

constexpr HashKey kKey{1, 2};
constexpr Hash128 kScope{3, 4};

std::vector<TokenId> Tokens(int32_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Status Check(const KvManager& kv, std::vector<const BlockTable*> tables) {
  return kv.CheckIntegrity(tables);
}

// A table that holds and has published all of `tokens`.
BlockTable Fill(KvManager& kv, const std::vector<TokenId>& tokens) {
  BlockTable table;
  const auto n = static_cast<int32_t>(tokens.size());
  kv.MatchAndPin(tokens, kScope, table);
  EXPECT_TRUE(kv.Reserve(n, table));
  kv.Publish(tokens, n, kScope, table);
  return table;
}

TEST(KvManagerTest, ReserveIsAllOrNothing) {
  KvManager kv(6, 4, true, kKey);
  BlockTable a, b;
  EXPECT_TRUE(kv.Reserve(9, a));
  EXPECT_EQ(a.blocks.size(), 3U);
  EXPECT_TRUE(kv.Reserve(12, a));
  EXPECT_EQ(a.blocks.size(), 3U);
  EXPECT_FALSE(kv.Reserve(9, b));
  EXPECT_TRUE(b.blocks.empty());
  EXPECT_EQ(kv.num_free(), 2);
  EXPECT_TRUE(kv.Reserve(8, b));
  EXPECT_EQ(kv.num_free(), 0);
  EXPECT_TRUE(Check(kv, {&a, &b}).ok());
  kv.Release(a);
  kv.Release(b);
  EXPECT_EQ(kv.num_free(), 5);
  EXPECT_EQ(kv.num_cached(), 0);
}

TEST(KvManagerTest, SharesFullPublishedBlocks) {
  KvManager kv(20, 4, true, kKey);
  const auto tokens = Tokens(10);
  BlockTable first = Fill(kv, tokens);
  BlockTable second;
  EXPECT_EQ(kv.MatchAndPin(tokens, kScope, second), 8);
  EXPECT_EQ(second.blocks, (std::vector<BlockId>{first.blocks[0], first.blocks[1]}));
  EXPECT_EQ(kv.num_used(), 3);
  EXPECT_TRUE(Check(kv, {&first, &second}).ok());
  kv.Release(first);
  EXPECT_EQ(kv.num_used(), 2);
  kv.Release(second);
  EXPECT_EQ(kv.num_cached(), 2);
  EXPECT_EQ(kv.MatchAndPin(tokens, kScope, second), 8);
  EXPECT_EQ(kv.num_cached(), 0);
  EXPECT_TRUE(Check(kv, {&second}).ok());
}

TEST(KvManagerTest, TheLastTokenIsNeverServed) {
  KvManager kv(20, 4, true, kKey);
  BlockTable first = Fill(kv, Tokens(8));
  BlockTable second;
  EXPECT_EQ(kv.MatchAndPin(Tokens(8), kScope, second), 4);
  kv.Release(second);
  EXPECT_EQ(kv.MatchAndPin(Tokens(9), kScope, second), 8);
  kv.Release(second);
  EXPECT_EQ(kv.MatchAndPin(Tokens(4), kScope, second), 0);
  EXPECT_EQ(kv.MatchAndPin(Tokens(1), kScope, second), 0);
  kv.Release(first);
}

TEST(KvManagerTest, ScopesAndBeginningsDoNotMix) {
  KvManager kv(20, 2, true, kKey);
  BlockTable first = Fill(kv, {1, 2, 3, 4, 5});
  BlockTable other;
  EXPECT_EQ(kv.MatchAndPin(std::vector<TokenId>{1, 2, 3, 4, 5}, Hash128{3, 5}, other), 0);
  other.chain.clear();
  EXPECT_EQ(kv.MatchAndPin(std::vector<TokenId>{9, 2, 3, 4, 5}, kScope, other), 0);
  other.chain.clear();
  EXPECT_EQ(kv.MatchAndPin(std::vector<TokenId>{1, 2, 9, 4, 5}, kScope, other), 2);
  kv.Release(first);
  kv.Release(other);
}

TEST(KvManagerTest, PublishesOnlyWhatIsComputed) {
  KvManager kv(20, 4, true, kKey);
  const auto tokens = Tokens(12);
  BlockTable first, second;
  ASSERT_TRUE(kv.Reserve(12, first));
  kv.Publish(tokens, 7, kScope, first);
  EXPECT_EQ(first.num_published, 1);
  EXPECT_EQ(kv.MatchAndPin(tokens, kScope, second), 4);
  kv.Release(second);
  kv.Publish(tokens, 12, kScope, first);
  EXPECT_EQ(kv.num_published(), 3U);
  kv.Release(first);
}

TEST(KvManagerTest, TwoWhoComputedTheSameKeepTheirOwn) {
  KvManager kv(20, 4, true, kKey);
  const auto tokens = Tokens(9);
  BlockTable first, second;
  ASSERT_TRUE(kv.Reserve(9, first));
  ASSERT_TRUE(kv.Reserve(9, second));
  kv.Publish(tokens, 9, kScope, first);
  kv.Publish(tokens, 9, kScope, second);
  EXPECT_EQ(kv.num_published(), 2U);
  EXPECT_TRUE(Check(kv, {&first, &second}).ok());
  kv.Release(second);
  EXPECT_EQ(kv.num_cached(), 0);
  kv.Release(first);
  EXPECT_EQ(kv.num_cached(), 2);
}

TEST(KvManagerTest, EvictsTheEndOfThePrefixFirst) {
  KvManager kv(6, 4, true, kKey);
  const auto tokens = Tokens(13);
  BlockTable first = Fill(kv, tokens);  // 3 full blocks and a partial one
  kv.Release(first);
  EXPECT_EQ(kv.num_cached(), 3);
  BlockTable big;
  ASSERT_TRUE(kv.Reserve(12, big));  // the two without content, and one of the prefix
  EXPECT_EQ(kv.num_cached(), 2);
  BlockTable again;
  EXPECT_EQ(kv.MatchAndPin(tokens, kScope, again), 8);
  EXPECT_TRUE(Check(kv, {&big, &again}).ok());
}

TEST(KvManagerTest, WithoutCachingNothingIsFound) {
  KvManager kv(20, 4, false, kKey);
  BlockTable first = Fill(kv, Tokens(12)), second;
  EXPECT_EQ(kv.MatchAndPin(Tokens(12), kScope, second), 0);
  EXPECT_TRUE(Check(kv, {&first, &second}).ok());
  kv.Release(first);
  EXPECT_EQ(kv.num_cached(), 0);
}

TEST(KvManagerTest, CheckIntegrityTakesTheCensus) {
  KvManager kv(20, 4, true, kKey);
  BlockTable first = Fill(kv, Tokens(12));
  EXPECT_FALSE(Check(kv, {}).ok());
  EXPECT_FALSE(Check(kv, {&first, &first}).ok());
  BlockTable wrong = first;
  wrong.blocks[0] = 19;
  EXPECT_FALSE(Check(kv, {&wrong}).ok());
  wrong.blocks[0] = 20;
  EXPECT_FALSE(Check(kv, {&wrong}).ok());
  wrong.blocks[0] = kPaddingBlock;
  EXPECT_FALSE(Check(kv, {&wrong}).ok());
  wrong = first;
  wrong.num_published = 9;
  EXPECT_FALSE(Check(kv, {&wrong}).ok());
  EXPECT_TRUE(Check(kv, {&first}).ok());
  ++KvManagerPeer::num_cached(kv);
  EXPECT_FALSE(Check(kv, {&first}).ok());
  --KvManagerPeer::num_cached(kv);
  KvManagerPeer::pool(kv).Ref(first.blocks[1]);
  EXPECT_FALSE(Check(kv, {&first}).ok());
}

}  // namespace
}  // namespace inferd
