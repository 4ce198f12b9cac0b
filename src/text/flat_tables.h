// Hash tables with open addressing for the two look-ups of the merge loop. Built
// once, then read by any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"

namespace inferd::text {

// Strings to ids.
class StringTable {
 public:
  // Makes room for `count` keys that have `bytes` together.
  void Reserve(size_t count, size_t bytes);
  // False when `key` is there already.
  bool Insert(std::string_view key, TokenId value);
  TokenId Find(std::string_view key) const;  // -1: none
  // Has the processor fetch what looking for `key` touches first.
  void Prefetch(std::string_view key) const;
  size_t size() const { return entries_.size(); }
  // The key that was inserted when there were `index` others.
  std::string_view Key(size_t index) const {
    return {bytes_.data() + entries_[index].offset, entries_[index].length};
  }

 private:
  struct Entry {
    uint32_t offset;
    uint32_t length;
    TokenId value;
  };
  struct Slot {
    uint32_t hash;       // the upper half of it
    uint32_t entry = 0;  // index in entries_ plus 1; 0: free
  };
  static uint64_t Hash(std::string_view key);
  // The slot of `key`, or the free one where it would be.
  size_t SlotFor(std::string_view key, uint64_t hash) const;
  void Resize(size_t slots);

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // a power of two, at most half full
};

// Pairs of ids to a small value.
class PairTable {
 public:
  struct Value {
    int32_t rank = 0;
    TokenId merged = 0;
  };
  // Makes room for `count` pairs.
  void Reserve(size_t count);
  // Later values replace earlier ones.
  void Insert(TokenId left, TokenId right, Value value);
  const Value* Find(TokenId left, TokenId right) const;  // null: none
  // Has the processor fetch where the pair is or would be.
  void Prefetch(TokenId left, TokenId right) const;

 private:
  struct Slot {
    uint64_t key = kFree;
    Value value;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};  // no pair: ids are not negative
  size_t SlotFor(uint64_t key) const;
  void Resize(size_t slots);

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace inferd::text
