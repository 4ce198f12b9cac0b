#include "model/recycled_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace inferd::model {
namespace {

TEST(RecycledMemoryTest, MemoryOfOneSizeIsGivenAgainAndWhatIsKeptIsBounded) {
  RecycledMemory memory;
  void* const first = memory.Allocate(1000, 64);
  void* const second = memory.Allocate(1000, 64);
  EXPECT_NE(first, second);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0U);
  memory.Free(first, 1000);
  EXPECT_EQ(memory.kept_bytes(), 1000U);
  void* const other = memory.Allocate(2000, 64);
  EXPECT_EQ(memory.Allocate(1000, 64), first);
  EXPECT_EQ(memory.kept_bytes(), 0U);
  for (void* pointer : {first, second}) memory.Free(pointer, 1000);
  memory.Free(other, 2000);
  EXPECT_EQ(memory.kept_bytes(), 4000U);
  const size_t large = RecycledMemory::kMostKept / 2;
  std::vector<void*> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(memory.Allocate(large, 64));
  for (void* block : blocks) {
    memory.Free(block, large);
    EXPECT_LE(memory.kept_bytes(), RecycledMemory::kMostKept);
  }
}

}  // namespace
}  // namespace inferd::model
