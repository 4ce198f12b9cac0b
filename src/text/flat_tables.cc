#include "text/flat_tables.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace inferd::text {
namespace {

uint64_t Mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15ULL;
  x ^= x >> 29;
  return x;
}

// A power of two that `count` fill half at most.
size_t SlotsFor(size_t count) { return std::bit_ceil(std::max<size_t>(64, count * 2)); }

uint64_t Key(TokenId left, TokenId right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

uint64_t StringTable::Hash(std::string_view key) {
  uint64_t hash = key.size() * 0xFF51AFD7ED558CCDULL;
  size_t i = 0;
  for (; i + 8 <= key.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, key.data() + i, 8);
    hash = Mix(hash ^ word) * 0xC4CEB9FE1A85EC53ULL;
  }
  uint64_t rest = 0;
  if (i < key.size()) std::memcpy(&rest, key.data() + i, key.size() - i);
  return Mix(hash ^ rest);
}

void StringTable::Reserve(size_t count, size_t bytes) {
  bytes_.reserve(bytes);
  entries_.reserve(count);
  Resize(SlotsFor(count));
}

bool StringTable::Insert(std::string_view key, TokenId value) {
  if ((entries_.size() + 1) * 2 > slots_.size()) Resize(SlotsFor(entries_.size() + 1));
  const uint64_t hash = Hash(key);
  const size_t slot = SlotFor(key, hash);
  if (slots_[slot].entry != 0) return false;
  entries_.push_back(
      {static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(key.size()), value});
  bytes_.append(key);
  slots_[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(entries_.size())};
  return true;
}

void StringTable::Resize(size_t slots) {
  if (slots <= slots_.size()) return;
  slots_.assign(slots, {});
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint64_t hash = Hash(Key(i));
    slots_[SlotFor(Key(i), hash)] = {static_cast<uint32_t>(hash >> 32),
                                     static_cast<uint32_t>(i + 1)};
  }
}

size_t StringTable::SlotFor(std::string_view key, uint64_t hash) const {
  const auto upper = static_cast<uint32_t>(hash >> 32);
  size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].entry != 0 &&
         (slots_[slot].hash != upper || Key(slots_[slot].entry - 1) != key)) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

TokenId StringTable::Find(std::string_view key) const {
  if (slots_.empty()) return -1;
  const uint32_t entry = slots_[SlotFor(key, Hash(key))].entry;
  return entry == 0 ? -1 : entries_[entry - 1].value;
}

void StringTable::Prefetch(std::string_view key) const {
  if (!slots_.empty()) __builtin_prefetch(&slots_[Hash(key) & (slots_.size() - 1)]);
}

void PairTable::Prefetch(TokenId left, TokenId right) const {
  if (!slots_.empty()) __builtin_prefetch(&slots_[Mix(Key(left, right)) & (slots_.size() - 1)]);
}

void PairTable::Reserve(size_t count) { Resize(SlotsFor(count)); }

size_t PairTable::SlotFor(uint64_t key) const {
  size_t slot = Mix(key) & (slots_.size() - 1);
  while (slots_[slot].key != kFree && slots_[slot].key != key) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void PairTable::Insert(TokenId left, TokenId right, Value value) {
  if ((size_ + 1) * 2 > slots_.size()) Resize(SlotsFor(size_ + 1));
  Slot& slot = slots_[SlotFor(Key(left, right))];
  if (slot.key == kFree) ++size_;
  slot = {Key(left, right), value};
}

void PairTable::Resize(size_t slots) {
  if (slots <= slots_.size()) return;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key != kFree) slots_[SlotFor(slot.key)] = slot;
  }
}

const PairTable::Value* PairTable::Find(TokenId left, TokenId right) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[SlotFor(Key(left, right))];
  return slot.key == kFree ? nullptr : &slot.value;
}

}  // namespace inferd::text
