#include "kv/kv_manager.h"

#include <algorithm>
#include <string>

#include "inferd/base/check.h"

namespace inferd {

KvManager::KvManager(int32_t num_blocks, int32_t block_size, bool prefix_caching,
                     const HashKey& key, const FaultInjection& faults)
    : block_size_(block_size),
      prefix_caching_(prefix_caching),
      faults_(faults),
      pool_(num_blocks),
      index_(prefix_caching ? num_blocks : 1, block_size, key) {
  INFERD_CHECK(block_size >= 1);
}

std::span<const TokenId> KvManager::BlockTokens(std::span<const TokenId> tokens,
                                                size_t block) const {
  const auto size = static_cast<size_t>(block_size_);
  return tokens.subspan(block * size, size);
}

void KvManager::ExtendChain(std::span<const TokenId> tokens, size_t block, const Hash128& scope,
                            BlockTable& table) {
  if (table.chain.empty()) {
    table.chain.push_back(index_.Root(faults_.ignore_scope ? Hash128{} : scope));
  }
  if (table.chain.size() > block + 1) return;
  INFERD_DCHECK(table.chain.size() == block + 1);
  const Hash128 parent = faults_.unchained_hash ? table.chain[0] : table.chain[block];
  table.chain.push_back(index_.Extend(parent, BlockTokens(tokens, block)));
}

int32_t KvManager::MatchAndPin(std::span<const TokenId> tokens, const Hash128& scope,
                               BlockTable& table) {
  INFERD_CHECK(table.blocks.empty());
  if (!prefix_caching_) return 0;
  const size_t usable = tokens.size() - (faults_.serve_last_token ? 0 : 1);
  const size_t max_blocks = usable / static_cast<size_t>(block_size_);
  for (size_t i = 0; i < max_blocks; ++i) {
    ExtendChain(tokens, i, scope, table);
    const Hash128& parent = faults_.unchained_hash ? table.chain[0] : table.chain[i];
    const BlockId block = index_.Find(table.chain[i + 1], parent, BlockTokens(tokens, i));
    if (block == kPaddingBlock) break;
    if (pool_.ref_count(block) == 0) --num_cached_;
    pool_.Ref(block);
    table.blocks.push_back(block);
  }
  table.num_published = static_cast<int32_t>(table.blocks.size());
  if (faults_.pin_late && table.num_published > 0 && pool_.ref_count(table.blocks.back()) == 1) {
    // As if the lookup had only noted the id: the block may be handed out below.
    pool_.Unref(table.blocks.back(), /*reusable=*/false);
    ++num_cached_;
  }
  return table.num_published * block_size_;
}

bool KvManager::Reserve(int32_t num_tokens, BlockTable& table) {
  const int32_t needed = BlocksFor(num_tokens) - static_cast<int32_t>(table.blocks.size());
  if (needed > pool_.num_free()) return false;
  for (int32_t i = 0; i < needed; ++i) {
    const BlockId block = pool_.Take();
    if (prefix_caching_ && index_.Holds(block)) {
      --num_cached_;
      if (!faults_.keep_stale_index) index_.Erase(block);
    }
    table.blocks.push_back(block);
  }
  return true;
}

void KvManager::Publish(std::span<const TokenId> tokens, int32_t num_computed, const Hash128& scope,
                        BlockTable& table) {
  if (!prefix_caching_) return;
  const int32_t num_full = num_computed / block_size_;
  for (int32_t i = table.num_published; i < num_full; ++i) {
    const auto b = static_cast<size_t>(i);
    ExtendChain(tokens, b, scope, table);
    const Hash128& parent = faults_.unchained_hash ? table.chain[0] : table.chain[b];
    if (index_.Holds(table.blocks[b])) continue;
    if (index_.Insert(table.chain[b + 1], parent, BlockTokens(tokens, b), table.blocks[b])) {
      ++num_published_;
    }
  }
  table.num_published = std::max(table.num_published, num_full);
}

void KvManager::Unref(BlockId block) {
  const bool reusable = prefix_caching_ && index_.Holds(block);
  if (pool_.ref_count(block) == 1 && reusable) ++num_cached_;
  pool_.Unref(block, reusable);
}

void KvManager::Release(BlockTable& table) {
  const bool forget_one = faults_.drop_unref && ++num_releases_ % 7 == 0;
  for (size_t i = table.blocks.size(); i-- > 0;) {
    const BlockId block = table.blocks[i];
    if (forget_one && i == 0) break;
    if (faults_.double_unref && pool_.ref_count(block) > 1) Unref(block);
    if ((faults_.double_unref || faults_.pin_late) && pool_.ref_count(block) == 0) continue;
    Unref(block);
  }
  table.blocks.clear();
  table.num_published = 0;
}

void KvManager::ForgetContent() {
  INFERD_CHECK(num_used() == 0 || faults_.drop_unref);
  if (faults_.keep_lost_content) return;
  index_.Clear();
  num_cached_ = 0;
}

Status KvManager::CheckIntegrity(std::span<const BlockTable* const> tables) const {
  INFERD_RETURN_IF_ERROR(pool_.CheckIntegrity());
  INFERD_RETURN_IF_ERROR(index_.CheckIntegrity());
  std::vector<int32_t> held(static_cast<size_t>(pool_.num_blocks()));
  for (const BlockTable* table : tables) {
    for (const BlockId block : table->blocks) {
      if (block <= kPaddingBlock || block >= pool_.num_blocks()) {
        return InternalError("a table names block " + std::to_string(block));
      }
      ++held[block];
    }
    if (table->num_published < 0 ||
        table->num_published > static_cast<int32_t>(table->blocks.size())) {
      return InternalError("a table has published more blocks than it has");
    }
  }
  int32_t cached = 0;
  for (BlockId block = 1; block < pool_.num_blocks(); ++block) {
    if (held[block] != pool_.ref_count(block)) {
      return InternalError("block " + std::to_string(block) + ": in " +
                           std::to_string(held[block]) + " tables with " +
                           std::to_string(pool_.ref_count(block)) + " references");
    }
    if (prefix_caching_ && index_.Holds(block) && held[block] == 0) ++cached;
  }
  if (cached != num_cached_) {
    return InternalError("num_cached is " + std::to_string(num_cached_) + " but " +
                         std::to_string(cached) + " free blocks are findable");
  }
  return OkStatus();
}

}  // namespace inferd
