#include "text/flat_tables.h"

#include <algorithm>
#include <cstring>

namespace inferd::text {
namespace {

uint64_t Mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15ULL;
  x ^= x >> 29;
  return x;
}

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

bool StringTable::Insert(std::string_view key, TokenId value) {
  if (Find(key) >= 0) return false;
  entries_.push_back(
      {Hash(key), static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(key.size()), value});
  bytes_.append(key);
  if (entries_.size() * 2 > slots_.size()) {
    Grow();
    return true;
  }
  size_t slot = entries_.back().hash & (slots_.size() - 1);
  while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = static_cast<uint32_t>(entries_.size());
  return true;
}

void StringTable::Grow() {
  slots_.assign(std::max<size_t>(64, slots_.size() * 2), 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

TokenId StringTable::Find(std::string_view key) const {
  if (slots_.empty()) return -1;
  const uint64_t hash = Hash(key);
  for (size_t slot = hash & (slots_.size() - 1); slots_[slot] != 0;
       slot = (slot + 1) & (slots_.size() - 1)) {
    const Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && entry.length == key.size() &&
        std::memcmp(bytes_.data() + entry.offset, key.data(), key.size()) == 0) {
      return entry.value;
    }
  }
  return -1;
}

size_t PairTable::SlotFor(uint64_t key) const {
  size_t slot = Mix(key) & (slots_.size() - 1);
  while (slots_[slot].key != kFree && slots_[slot].key != key) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void PairTable::Insert(TokenId left, TokenId right, Value value) {
  if ((size_ + 1) * 2 > slots_.size()) Grow();
  Slot& slot = slots_[SlotFor(Key(left, right))];
  if (slot.key == kFree) ++size_;
  slot = {Key(left, right), value};
}

void PairTable::Grow() {
  std::vector<Slot> old(std::max<size_t>(64, slots_.size() * 2));
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
