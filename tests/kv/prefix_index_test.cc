#include "kv/prefix_index.h"

#include <map>
#include <vector>

#include "gtest/gtest.h"

namespace inferd {

class PrefixIndexPeer {
 public:
  static std::vector<BlockId>& table(PrefixIndex& index) { return index.table_; }
  static std::vector<uint8_t>& held(PrefixIndex& index) { return index.held_; }
  static std::vector<Hash128>& hash(PrefixIndex& index) { return index.hash_; }
  static std::vector<TokenId>& tokens(PrefixIndex& index) { return index.tokens_; }
  static int32_t& size(PrefixIndex& index) { return index.size_; }
};

namespace {

constexpr HashKey kKey{1, 2};

TEST(PrefixIndexTest, FindsWhatWasInserted) {
  PrefixIndex index(8, 2, kKey);
  const Hash128 root = index.Root({5, 6});
  const std::vector<TokenId> tokens = {10, 11};
  const Hash128 hash = index.Extend(root, tokens);
  EXPECT_EQ(index.Find(hash, root, tokens), kPaddingBlock);
  EXPECT_TRUE(index.Insert(hash, root, tokens, 3));
  EXPECT_EQ(index.Find(hash, root, tokens), 3);
  EXPECT_FALSE(index.Insert(hash, root, tokens, 4));
  EXPECT_FALSE(index.Holds(4));
  index.Erase(3);
  index.Erase(3);
  EXPECT_EQ(index.Find(hash, root, tokens), kPaddingBlock);
  EXPECT_EQ(index.size(), 0);
  EXPECT_TRUE(index.CheckIntegrity().ok());
}

TEST(PrefixIndexTest, KeysDependOnScopeHistoryTokensAndKey) {
  PrefixIndex index(8, 2, kKey), other(8, 2, HashKey{1, 3});
  const std::vector<TokenId> a = {1, 2}, b = {1, 3};
  const Hash128 root = index.Root({5, 6});
  EXPECT_NE(root, index.Root({5, 7}));
  EXPECT_NE(root, other.Root({5, 6}));
  EXPECT_NE(index.Extend(root, a), index.Extend(root, b));
  EXPECT_NE(index.Extend(index.Extend(root, a), a), index.Extend(index.Extend(root, b), a));
  EXPECT_NE(index.Extend(root, a), other.Extend(root, a));
}

TEST(PrefixIndexTest, AHitComparesTokensAndParent) {
  PrefixIndex index(8, 2, kKey);
  const Hash128 root = index.Root({}), hash{123, 456};
  const std::vector<TokenId> a = {1, 2}, b = {1, 3};
  ASSERT_TRUE(index.Insert(hash, root, a, 1));
  EXPECT_EQ(index.Find(hash, root, a), 1);
  EXPECT_EQ(index.Find(hash, root, b), kPaddingBlock);  // as after a collision
  EXPECT_EQ(index.Find(hash, {9, 9}, a), kPaddingBlock);
}

// Everything in few places, so that probes are long and erasing must move entries.
TEST(PrefixIndexTest, AgreesWithAMapUnderCollisions) {
  constexpr int32_t kBlocks = 64;
  PrefixIndex index(kBlocks, 1, kKey);
  std::map<uint64_t, BlockId> expected;
  uint64_t random = 1;
  for (int i = 0; i < 20000; ++i) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const uint64_t name = (random >> 33) % 96;
    const Hash128 hash{name % 5 + 126 * (name % 2), name};
    const std::vector<TokenId> tokens = {static_cast<TokenId>(name)};
    const auto block = static_cast<BlockId>(1 + (random >> 50) % (kBlocks - 1));
    if ((random >> 20) % 2 == 0) {
      if (index.Holds(block)) continue;
      EXPECT_EQ(index.Insert(hash, {}, tokens, block), !expected.contains(name));
      expected.try_emplace(name, block);
    } else {
      index.Erase(block);
      std::erase_if(expected, [block](const auto& e) { return e.second == block; });
    }
    if (i % 16 == 0) {
      ASSERT_TRUE(index.CheckIntegrity().ok()) << index.CheckIntegrity().ToString();
    }
    for (uint64_t n = name; n < name + 3; ++n) {
      const auto place = expected.find(n);
      const BlockId found =
          index.Find({n % 5 + 126 * (n % 2), n}, {}, std::vector{static_cast<TokenId>(n)});
      ASSERT_EQ(found, place == expected.end() ? kPaddingBlock : place->second);
    }
  }
  EXPECT_EQ(index.size(), static_cast<int32_t>(expected.size()));
}

TEST(PrefixIndexTest, CheckIntegrityNoticesEachBrokenField) {
  auto make = [] {
    PrefixIndex index(8, 1, kKey);
    const std::vector<TokenId> tokens = {1};
    EXPECT_TRUE(index.Insert({1, 1}, {}, tokens, 1));
    EXPECT_TRUE(index.Insert({2, 2}, {}, tokens, 2));
    return index;
  };
  EXPECT_TRUE(make().CheckIntegrity().ok());
  PrefixIndex unheld = make();
  PrefixIndexPeer::held(unheld)[1] = 0;
  EXPECT_FALSE(unheld.CheckIntegrity().ok());
  PrefixIndex extra = make();
  PrefixIndexPeer::held(extra)[5] = 1;
  EXPECT_FALSE(extra.CheckIntegrity().ok());
  PrefixIndex moved = make();
  PrefixIndexPeer::hash(moved)[2] = {7, 7};
  EXPECT_FALSE(moved.CheckIntegrity().ok());
  PrefixIndex size = make();
  ++PrefixIndexPeer::size(size);
  EXPECT_FALSE(size.CheckIntegrity().ok());
  PrefixIndex foreign = make();
  PrefixIndexPeer::table(foreign)[9] = 4;
  EXPECT_FALSE(foreign.CheckIntegrity().ok());
}

}  // namespace
}  // namespace inferd
