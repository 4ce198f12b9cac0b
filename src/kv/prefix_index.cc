#include "kv/prefix_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "inferd/base/check.h"

namespace inferd {

PrefixIndex::PrefixIndex(int32_t num_blocks, int32_t block_size, const HashKey& key)
    : key_(key),
      block_size_(static_cast<size_t>(block_size)),
      // At most half full, so that probes stay short.
      mask_(std::bit_ceil(static_cast<size_t>(num_blocks) * 2) - 1),
      table_(mask_ + 1, kPaddingBlock),
      held_(static_cast<size_t>(num_blocks)),
      hash_(static_cast<size_t>(num_blocks)),
      parent_(static_cast<size_t>(num_blocks)),
      tokens_(static_cast<size_t>(num_blocks) * block_size_),
      scratch_(sizeof(Hash128) + block_size_ * sizeof(TokenId)) {}

Hash128 PrefixIndex::Root(const Hash128& scope) const {
  // Shorter than any input of Extend: the two cannot meet.
  return SipHash128(key_, std::as_bytes(std::span(&scope, 1)));
}

Hash128 PrefixIndex::Extend(const Hash128& parent, std::span<const TokenId> tokens) {
  INFERD_DCHECK(tokens.size() == block_size_);
  std::memcpy(scratch_.data(), &parent, sizeof(parent));
  std::memcpy(scratch_.data() + sizeof(parent), tokens.data(), tokens.size_bytes());
  return SipHash128(key_, scratch_);
}

size_t PrefixIndex::Locate(const Hash128& hash) const {
  size_t place = Home(hash);
  while (table_[place] != kPaddingBlock && hash_[table_[place]] != hash) {
    place = (place + 1) & mask_;
  }
  return place;
}

BlockId PrefixIndex::Find(const Hash128& hash, const Hash128& parent,
                          std::span<const TokenId> tokens) const {
  const BlockId block = table_[Locate(hash)];
  if (block == kPaddingBlock || parent_[block] != parent) return kPaddingBlock;
  const TokenId* stored = tokens_.data() + static_cast<size_t>(block) * block_size_;
  return std::memcmp(stored, tokens.data(), tokens.size_bytes()) == 0 ? block : kPaddingBlock;
}

bool PrefixIndex::Insert(const Hash128& hash, const Hash128& parent,
                         std::span<const TokenId> tokens, BlockId block) {
  INFERD_CHECK(!Holds(block));
  const size_t place = Locate(hash);
  if (table_[place] != kPaddingBlock) return false;
  table_[place] = block;
  held_[block] = 1;
  hash_[block] = hash;
  parent_[block] = parent;
  std::copy(tokens.begin(), tokens.end(),
            tokens_.begin() +
                static_cast<std::ptrdiff_t>(block) * static_cast<std::ptrdiff_t>(block_size_));
  ++size_;
  return true;
}

void PrefixIndex::Erase(BlockId block) {
  if (!Holds(block)) return;
  size_t hole = Locate(hash_[block]);
  held_[block] = 0;
  --size_;
  // Close the hole: move back whoever probed past it.
  for (size_t place = (hole + 1) & mask_; table_[place] != kPaddingBlock;
       place = (place + 1) & mask_) {
    const size_t home = Home(hash_[table_[place]]);
    if (((place - home) & mask_) >= ((place - hole) & mask_)) {
      table_[hole] = table_[place];
      hole = place;
    }
  }
  table_[hole] = kPaddingBlock;
}

void PrefixIndex::Clear() {
  std::fill(table_.begin(), table_.end(), kPaddingBlock);
  std::fill(held_.begin(), held_.end(), uint8_t{0});
  size_ = 0;
}

Status PrefixIndex::CheckIntegrity() const {
  int32_t entries = 0;
  for (const BlockId block : table_) {
    if (block == kPaddingBlock) continue;
    if (block < 0 || static_cast<size_t>(block) >= held_.size() || !Holds(block)) {
      return InternalError("prefix index: names block " + std::to_string(block) +
                           ", which it does not hold");
    }
    if (table_[Locate(hash_[block])] != block) {
      return InternalError("prefix index: block " + std::to_string(block) +
                           " cannot be found by its hash");
    }
    ++entries;
  }
  const auto held = std::count(held_.begin(), held_.end(), uint8_t{1});
  if (entries != size_ || held != size_) {
    return InternalError("prefix index: " + std::to_string(entries) + " entries and " +
                         std::to_string(held) + " held blocks, but its size is " +
                         std::to_string(size_));
  }
  return OkStatus();
}

}  // namespace inferd
