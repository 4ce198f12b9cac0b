#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/ids.h"
#include "inferd/base/status.h"

namespace inferd {

// Which block holds the KV of which prefix. Engine thread only. A block's key is
// a keyed 128-bit hash chained over everything before it, beginning with the
// cache scope (B4); a hit also compares the block's stored tokens. Holds at most
// one entry per block, in memory allocated once: an open-addressed table with
// linear probing and no tombstones.
class PrefixIndex {
 public:
  PrefixIndex(int32_t num_blocks, int32_t block_size, const HashKey& key);

  // The chain value before a scope's first block.
  Hash128 Root(const Hash128& scope) const;
  // The chain value after the block `tokens` [block_size] that follows `parent`.
  Hash128 Extend(const Hash128& parent, std::span<const TokenId> tokens);

  // The block with this key, tokens and parent; kPaddingBlock when there is none.
  BlockId Find(const Hash128& hash, const Hash128& parent, std::span<const TokenId> tokens) const;
  // Remembers `block`, which must not be held yet. False, and nothing changed, when
  // the key is taken.
  bool Insert(const Hash128& hash, const Hash128& parent, std::span<const TokenId> tokens,
              BlockId block);
  // Forgets `block`; nothing happens when it is not held.
  void Erase(BlockId block);

  // Forgets every block.
  void Clear();

  bool Holds(BlockId block) const { return held_[block] != 0; }
  int32_t size() const { return size_; }

  Status CheckIntegrity() const;

 private:
  friend class PrefixIndexPeer;  // tests break fields through it

  size_t Home(const Hash128& hash) const { return static_cast<size_t>(hash.lo) & mask_; }
  // Where `hash` is, or the empty place where it would go.
  size_t Locate(const Hash128& hash) const;

  const HashKey key_;
  const size_t block_size_;
  size_t mask_ = 0;
  std::vector<BlockId> table_;      // [mask + 1]; kPaddingBlock: empty
  std::vector<uint8_t> held_;       // [num_blocks]
  std::vector<Hash128> hash_;       // [num_blocks]
  std::vector<Hash128> parent_;     // [num_blocks]
  std::vector<TokenId> tokens_;     // [num_blocks, block_size]
  std::vector<std::byte> scratch_;  // the hash's input
  int32_t size_ = 0;
};

}  // namespace inferd
