#include "kv/block_pool.h"

#include <string>

#include "inferd/base/check.h"

namespace inferd {
namespace {

constexpr BlockId kNotLinked = -1;

Status Broken(BlockId block, const char* what) {
  return InternalError("block " + std::to_string(block) + ": " + what);
}

}  // namespace

BlockPool::BlockPool(int32_t num_blocks)
    : ref_count_(static_cast<size_t>(num_blocks)),
      next_(static_cast<size_t>(num_blocks)),
      prev_(static_cast<size_t>(num_blocks)),
      num_free_(num_blocks - 1) {
  INFERD_CHECK(num_blocks >= 2);
  for (BlockId block = 0; block < num_blocks; ++block) {
    next_[block] = block + 1 == num_blocks ? kPaddingBlock : block + 1;
    prev_[block] = block == kPaddingBlock ? num_blocks - 1 : block - 1;
  }
}

BlockId BlockPool::Take() {
  INFERD_CHECK(num_free_ > 0);
  const BlockId block = next_[kPaddingBlock];
  Unlink(block);
  ref_count_[block] = 1;
  return block;
}

void BlockPool::Ref(BlockId block) {
  if (ref_count_[block]++ == 0) Unlink(block);
}

void BlockPool::Unref(BlockId block, bool reusable) {
  INFERD_CHECK(block != kPaddingBlock && ref_count_[block] > 0);
  if (--ref_count_[block] > 0) return;
  LinkAfter(reusable ? prev_[kPaddingBlock] : kPaddingBlock, block);
}

void BlockPool::Unlink(BlockId block) {
  next_[prev_[block]] = next_[block];
  prev_[next_[block]] = prev_[block];
  next_[block] = prev_[block] = kNotLinked;
  --num_free_;
}

void BlockPool::LinkAfter(BlockId position, BlockId block) {
  next_[block] = next_[position];
  prev_[block] = position;
  prev_[next_[block]] = block;
  next_[position] = block;
  ++num_free_;
}

Status BlockPool::CheckIntegrity() const {
  if (ref_count_[kPaddingBlock] != 0)
    return Broken(kPaddingBlock, "the padding block is in use (B1)");
  int32_t walked = 0;
  for (BlockId block = kPaddingBlock;;) {
    const BlockId next = next_[block];
    if (next < 0 || next >= num_blocks()) return Broken(block, "the free list leads nowhere");
    if (prev_[next] != block) return Broken(next, "the free list's links disagree");
    if (next == kPaddingBlock) break;
    if (ref_count_[next] != 0) return Broken(next, "is free and has references (B2)");
    if (++walked > capacity()) return Broken(next, "the free list has a cycle");
    block = next;
  }
  if (walked != num_free_)
    return Broken(kPaddingBlock, "num_free is not the free list's length (B3)");
  int32_t used = 0;
  for (BlockId block = 1; block < num_blocks(); ++block) {
    if (ref_count_[block] < 0) return Broken(block, "has fewer than no references");
    if (ref_count_[block] > 0) {
      ++used;
      if (next_[block] != kNotLinked || prev_[block] != kNotLinked) {
        return Broken(block, "is in use and linked (B2)");
      }
    }
  }
  if (used + walked != capacity()) {
    return Broken(kPaddingBlock, "a block is neither in use nor free (B3)");
  }
  return OkStatus();
}

}  // namespace inferd
