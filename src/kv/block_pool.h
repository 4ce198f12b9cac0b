#pragma once

#include <cstdint>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"

namespace inferd {

// Who uses which KV block, and the order in which free ones are handed out.
// Engine thread only; every operation is O(1) and allocates nothing.
//
//   B1 block 0 is padding, never handed out (it is the head of the free list).
//   B2 ref_count == 0 iff the block is in the free list.
//   B3 num_free() + used == capacity().
class BlockPool {
 public:
  // `num_blocks` includes the padding block; at least 2.
  explicit BlockPool(int32_t num_blocks);

  int32_t num_blocks() const { return static_cast<int32_t>(ref_count_.size()); }
  int32_t capacity() const { return num_blocks() - 1; }
  int32_t num_free() const { return num_free_; }
  int32_t ref_count(BlockId block) const { return ref_count_[block]; }

  // The block that has been free for the longest, with one reference. Only when
  // num_free() > 0.
  BlockId Take();
  // One more reference; a free block leaves the free list with its content.
  void Ref(BlockId block);
  // One reference less. At none the block is free: last to be handed out again
  // when its content is `reusable`, else first.
  void Unref(BlockId block, bool reusable);

  // Walks everything. Not OK names the first rule found broken.
  Status CheckIntegrity() const;

 private:
  friend class BlockPoolPeer;  // tests break fields through it

  void Unlink(BlockId block);
  void LinkAfter(BlockId position, BlockId block);

  std::vector<int32_t> ref_count_;  // [num_blocks]
  // The free list, oldest first: a ring through block 0. kNotLinked when in use.
  std::vector<BlockId> next_;  // [num_blocks]
  std::vector<BlockId> prev_;  // [num_blocks]
  int32_t num_free_ = 0;
};

}  // namespace inferd
