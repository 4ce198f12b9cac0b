#include "backends/cuda/arena_map.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace inferd {
namespace {

constexpr size_t kUnit = ArenaMap::kUnit;

TEST(ArenaMapTest, RoundsUpAndRefusesWhatDoesNotFit) {
  ArenaMap map(4 * kUnit + 100);
  EXPECT_EQ(map.bytes(), 4 * kUnit);
  EXPECT_EQ(map.Take(1), 0u);
  EXPECT_EQ(map.Take(kUnit + 1), kUnit);
  EXPECT_EQ(map.taken(), 3 * kUnit);
  EXPECT_EQ(map.Take(kUnit + 1), std::nullopt);
  EXPECT_EQ(map.Take(kUnit), 3 * kUnit);
  EXPECT_EQ(map.Take(1), std::nullopt);
  EXPECT_TRUE(map.CheckIntegrity().ok());
}

TEST(ArenaMapTest, WhatIsGivenBackIsJoined) {
  ArenaMap map(3 * kUnit);
  const size_t a = *map.Take(kUnit);
  const size_t b = *map.Take(kUnit);
  const size_t c = *map.Take(kUnit);
  map.Give(a);
  map.Give(c);
  EXPECT_EQ(map.Take(2 * kUnit), std::nullopt);
  map.Give(b);
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.Take(3 * kUnit), 0u);
}

TEST(ArenaMapTest, KeepsItsPartsApartWhateverComes) {
  std::mt19937 random(3);
  ArenaMap map(1000 * kUnit);
  struct Part {
    size_t offset;
    size_t bytes;
  };
  std::vector<Part> parts;
  std::vector<bool> used(1000);
  const auto mark = [&](const Part& part, bool value) {
    const size_t units = std::max<size_t>(1, (part.bytes + kUnit - 1) / kUnit);
    for (size_t i = part.offset / kUnit; i < part.offset / kUnit + units; ++i) {
      ASSERT_NE(used[i], value);
      used[i] = value;
    }
  };
  for (int round = 0; round < 5000; ++round) {
    if (random() % 2 == 0 || parts.empty()) {
      const size_t bytes = random() % (40 * kUnit);
      if (const auto offset = map.Take(bytes)) {
        parts.push_back({*offset, bytes});
        mark(parts.back(), true);
      }
    } else {
      const size_t i = random() % parts.size();
      map.Give(parts[i].offset);
      mark(parts[i], false);
      parts[i] = parts.back();
      parts.pop_back();
    }
    ASSERT_TRUE(map.CheckIntegrity().ok());
    ASSERT_EQ(map.parts(), parts.size());
  }
}

}  // namespace
}  // namespace inferd
