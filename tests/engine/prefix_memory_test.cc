#include "engine/prefix_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <vector>

namespace inferd {
namespace {

constexpr int32_t kBlock = 4;
constexpr Hash128 kScope{1, 2};

std::vector<TokenId> Tokens(int32_t first, size_t count) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::array<int32_t, 3> Found(PrefixMemory& memory, std::span<const TokenId> prompt,
                             const Hash128& scope = kScope) {
  std::array<int32_t, 3> found{};
  memory.Find(memory.Keys(scope, prompt), found);
  return found;
}

using Blocks = std::array<int32_t, 3>;

TEST(PrefixMemoryTest, FindsTheLongestPrefixOfEachReplica) {
  PrefixMemory memory(1000, kBlock, {3, 4});
  memory.Remember(memory.Keys(kScope, Tokens(0, 17)), 0);
  memory.Remember(memory.Keys(kScope, Tokens(0, 9)), 2);
  EXPECT_EQ(Found(memory, Tokens(0, 17)), (Blocks{4, 0, 2}));
  EXPECT_EQ(Found(memory, Tokens(0, 100)), (Blocks{4, 0, 2}));
  EXPECT_EQ(Found(memory, Tokens(0, 5)), (Blocks{1, 0, 1}));
  EXPECT_EQ(Found(memory, Tokens(1, 17)), (Blocks{0, 0, 0}));
  EXPECT_EQ(Found(memory, Tokens(0, 17), Hash128{1, 3}), (Blocks{0, 0, 0})) << "another scope";
}

TEST(PrefixMemoryTest, TheLastTokenIsNeverCached) {
  PrefixMemory memory(1000, kBlock, {3, 4});
  EXPECT_TRUE(memory.Keys(kScope, {}).empty());
  EXPECT_EQ(memory.Keys(kScope, Tokens(0, 4)).size(), 0U);
  EXPECT_EQ(memory.Keys(kScope, Tokens(0, 5)).size(), 1U);
  EXPECT_EQ(memory.Keys(kScope, Tokens(0, 8)).size(), 1U);
}

// A block found at the end is of no use when one before it is not there.
TEST(PrefixMemoryTest, AGapEndsAPrefix) {
  PrefixMemory memory(1000, kBlock, {3, 4});
  const auto keys = memory.Keys(kScope, Tokens(0, 17));
  memory.Remember(std::span(keys).first(1), 1);
  memory.Remember(std::span(keys).subspan(2), 1);
  EXPECT_EQ(Found(memory, Tokens(0, 17)), (Blocks{0, 1, 0}));
}

TEST(PrefixMemoryTest, ForgetsOneReplicaAndKeepsTheOthers) {
  PrefixMemory memory(1000, kBlock, {3, 4});
  for (int replica = 0; replica < 3; ++replica) {
    memory.Remember(memory.Keys(kScope, Tokens(0, 9)), replica);
  }
  memory.Forget(1);
  EXPECT_EQ(Found(memory, Tokens(0, 9)), (Blocks{2, 0, 2}));
}

TEST(PrefixMemoryTest, WhatWasSeenLongestAgoMakesRoom) {
  PrefixMemory memory(64, kBlock, {3, 4});
  const auto first = Tokens(0, 9);
  memory.Remember(memory.Keys(kScope, first), 0);
  for (int32_t i = 1; i < 2000; ++i) {
    memory.Remember(memory.Keys(kScope, Tokens(1000 * i, 9)), 1);
    memory.Remember(memory.Keys(kScope, first), 0);  // in use all the time
  }
  EXPECT_EQ(Found(memory, first), (Blocks{2, 0, 0}));
  EXPECT_EQ(Found(memory, Tokens(1000, 9)), (Blocks{0, 0, 0}));
  EXPECT_EQ(Found(memory, Tokens(1'999'000, 9)), (Blocks{0, 2, 0}));
}

TEST(PrefixMemoryTest, WithoutPlacesNothingIsRemembered) {
  PrefixMemory memory(0, kBlock, {3, 4});
  memory.Remember(memory.Keys(kScope, Tokens(0, 9)), 0);
  EXPECT_EQ(Found(memory, Tokens(0, 9)), (Blocks{0, 0, 0}));
}

}  // namespace
}  // namespace inferd
