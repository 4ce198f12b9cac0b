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
  // False when `key` is there already. `value` >= 0.
  bool Insert(std::string_view key, TokenId value);
  TokenId Find(std::string_view key) const;  // -1: none
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t hash;
    uint32_t offset;
    uint32_t length;
    TokenId value;
  };
  static uint64_t Hash(std::string_view key);
  void Grow();

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // index in entries_ plus 1; 0: free; a power of two
};

// Pairs of ids to a small value.
class PairTable {
 public:
  struct Value {
    int32_t rank = 0;
    TokenId merged = 0;
  };
  // Later values replace earlier ones.
  void Insert(TokenId left, TokenId right, Value value);
  const Value* Find(TokenId left, TokenId right) const;  // null: none

 private:
  struct Slot {
    uint64_t key = kFree;
    Value value;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};  // no pair: ids are not negative
  size_t SlotFor(uint64_t key) const;
  void Grow();

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace inferd::text
