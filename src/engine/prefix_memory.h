#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/ids.h"

namespace inferd {

// Which replica was sent which prefix: a table of fixed size from the chained hash of a
// block and all before it to the replicas, one bit each. Places are taken from whoever of
// their bucket was seen longest ago. Not thread-safe, except for Keys().
class PrefixMemory {
 public:
  // Remembers at least `max_blocks` blocks if they spread evenly; 0: nothing.
  PrefixMemory(int64_t max_blocks, int32_t block_size, const HashKey& key);

  // The keys of the prompt's full blocks, but for the one that holds its last token: that
  // token is always computed.
  std::vector<uint64_t> Keys(const Hash128& scope, std::span<const TokenId> prompt) const;

  // found[r] := how many blocks from the first on replica r was sent.
  void Find(std::span<const uint64_t> keys, std::span<int32_t> found);
  void Remember(std::span<const uint64_t> keys, int replica);
  // The replica has lost its cache.
  void Forget(int replica);

 private:
  static constexpr size_t kWays = 8;
  struct Entry {
    uint64_t key = 0;
    uint32_t replicas = 0;  // 0: empty
    uint32_t seen = 0;      // when, counted in requests
  };
  using Bucket = std::array<Entry, kWays>;

  Bucket& BucketOf(uint64_t key) { return table_[key & (table_.size() - 1)]; }
  Entry* Locate(uint64_t key);

  const int32_t block_size_;
  const HashKey key_;
  std::vector<Bucket> table_;  // a power of two of them, or none
  uint32_t now_ = 0;
};

}  // namespace inferd
