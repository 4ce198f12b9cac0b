#include "kv/block_pool.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace inferd {

class BlockPoolPeer {
 public:
  static std::vector<int32_t>& ref_count(BlockPool& pool) { return pool.ref_count_; }
  static std::vector<BlockId>& next(BlockPool& pool) { return pool.next_; }
  static std::vector<BlockId>& prev(BlockPool& pool) { return pool.prev_; }
  static int32_t& num_free(BlockPool& pool) { return pool.num_free_; }
};

namespace {

TEST(BlockPoolTest, HandsOutEveryBlockOnceButThePadding) {
  BlockPool pool(5);
  std::set<BlockId> seen;
  for (int i = 0; i < 4; ++i) seen.insert(pool.Take());
  EXPECT_EQ(seen, (std::set<BlockId>{1, 2, 3, 4}));
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
}

TEST(BlockPoolTest, ReusesTheOldestAndContentLast) {
  BlockPool pool(5);
  const BlockId a = pool.Take(), b = pool.Take(), c = pool.Take(), d = pool.Take();
  pool.Unref(a, /*reusable=*/true);
  pool.Unref(b, /*reusable=*/true);
  pool.Unref(c, /*reusable=*/false);
  pool.Unref(d, /*reusable=*/true);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
  EXPECT_EQ(pool.Take(), c);
  EXPECT_EQ(pool.Take(), a);
  EXPECT_EQ(pool.Take(), b);
  EXPECT_EQ(pool.Take(), d);
}

TEST(BlockPoolTest, CountsReferences) {
  BlockPool pool(4);
  const BlockId a = pool.Take();
  pool.Ref(a);
  pool.Unref(a, true);
  EXPECT_EQ(pool.ref_count(a), 1);
  EXPECT_EQ(pool.num_free(), 2);
  pool.Unref(a, true);
  EXPECT_EQ(pool.num_free(), 3);
  pool.Ref(a);  // out of the middle of the free list
  EXPECT_EQ(pool.ref_count(a), 1);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_TRUE(pool.CheckIntegrity().ok());
}

TEST(BlockPoolDeathTest, RefusesWhatCannotHappen) {
  BlockPool pool(2);
  const BlockId a = pool.Take();
  EXPECT_DEATH(pool.Take(), "num_free_ > 0");
  pool.Unref(a, false);
  EXPECT_DEATH(pool.Unref(a, false), "ref_count_");
  EXPECT_DEATH(pool.Unref(kPaddingBlock, false), "kPaddingBlock");
}

void ExpectBroken(const BlockPool& pool, const std::string& why) {
  const Status status = pool.CheckIntegrity();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find(why), std::string::npos) << status.ToString();
}

TEST(BlockPoolTest, CheckIntegrityNoticesEachBrokenField) {
  auto make = [] {
    BlockPool pool(6);
    pool.Take();  // block 1
    return pool;
  };
  BlockPool padding = make();
  BlockPoolPeer::ref_count(padding)[0] = 1;
  ExpectBroken(padding, "B1");
  BlockPool referenced = make();
  BlockPoolPeer::ref_count(referenced)[3] = 1;
  ExpectBroken(referenced, "B2");
  BlockPool lost = make();
  BlockPoolPeer::ref_count(lost)[1] = 0;
  ExpectBroken(lost, "B3");
  BlockPool negative = make();
  BlockPoolPeer::ref_count(negative)[1] = -1;
  ExpectBroken(negative, "fewer than no");
  BlockPool count = make();
  ++BlockPoolPeer::num_free(count);
  ExpectBroken(count, "B3");
  BlockPool nowhere = make();
  BlockPoolPeer::next(nowhere)[3] = 77;
  ExpectBroken(nowhere, "leads nowhere");
  BlockPool disagree = make();
  BlockPoolPeer::prev(disagree)[4] = 2;
  ExpectBroken(disagree, "disagree");
  BlockPool cycle = make();
  BlockPoolPeer::next(cycle)[3] = 2;
  BlockPoolPeer::prev(cycle)[2] = 3;
  EXPECT_FALSE(cycle.CheckIntegrity().ok());
  BlockPool linked = make();
  BlockPoolPeer::next(linked)[1] = 2;
  ExpectBroken(linked, "in use and linked");
}

}  // namespace
}  // namespace inferd
