#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "kv/block_pool.h"
#include "kv/fault_injection.h"
#include "kv/prefix_index.h"

namespace inferd {

// The KV blocks of one sequence, in order. Each holds one reference.
struct BlockTable {
  std::vector<BlockId> blocks;
  // Chain values: chain[0] is the scope's root, chain[i + 1] follows block i. Kept
  // across preemptions, for tokens do not change.
  std::vector<Hash128> chain;
  int32_t num_published = 0;  // leading blocks that were matched or published
};

// Gives KV blocks to sequences, all or nothing, and shares prefixes between them.
// Engine thread only.
class KvManager {
 public:
  KvManager(int32_t num_blocks, int32_t block_size, bool prefix_caching, const HashKey& key,
            const FaultInjection& faults = {});

  // Takes the blocks of the longest cached prefix of `tokens` into the empty
  // `table`, each with a reference, and returns how many tokens they hold. The
  // last token is never among them (B5).
  int32_t MatchAndPin(std::span<const TokenId> tokens, const Hash128& scope, BlockTable& table);

  // Makes `table` long enough for `num_tokens` tokens. False, and nothing changed,
  // when there are too few free blocks.
  bool Reserve(int32_t num_tokens, BlockTable& table);

  // Lets others find the full blocks within the first `num_computed` of `tokens`.
  // Only once the steps that filled them are committed with finite logits.
  void Publish(std::span<const TokenId> tokens, int32_t num_computed, const Hash128& scope,
               BlockTable& table);

  // Drops every reference of `table`. What was published stays findable until its
  // block is needed, the end of a prefix going first.
  void Release(BlockTable& table);

  // The content of all blocks is lost: nothing can be found any more. No table may
  // hold a block.
  void ForgetContent();

  int32_t BlocksFor(int32_t num_tokens) const {
    return (num_tokens + block_size_ - 1) / block_size_;
  }
  int32_t block_size() const { return block_size_; }
  bool prefix_caching() const { return prefix_caching_; }
  int32_t capacity() const { return pool_.capacity(); }
  int32_t num_free() const { return pool_.num_free(); }
  int32_t num_used() const { return pool_.capacity() - pool_.num_free(); }
  // Free blocks whose content can be found.
  int32_t num_cached() const { return num_cached_; }
  // Grows whenever a block becomes findable.
  uint64_t num_published() const { return num_published_; }

  // Checks pool and index, and that `tables` hold exactly the references there are.
  Status CheckIntegrity(std::span<const BlockTable* const> tables) const;

 private:
  friend class KvManagerPeer;  // tests break fields through it

  void ExtendChain(std::span<const TokenId> tokens, size_t block, const Hash128& scope,
                   BlockTable& table);
  std::span<const TokenId> BlockTokens(std::span<const TokenId> tokens, size_t block) const;
  void Unref(BlockId block);

  const int32_t block_size_;
  const bool prefix_caching_;
  const FaultInjection faults_;
  BlockPool pool_;
  PrefixIndex index_;
  int32_t num_cached_ = 0;
  uint64_t num_published_ = 0;
  uint32_t num_releases_ = 0;
};

}  // namespace inferd
