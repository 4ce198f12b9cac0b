#include "engine/prefix_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace inferd {
namespace {

constexpr uint64_t kMaxBuckets = uint64_t{1} << 20;  // 128 MiB

}  // namespace

PrefixMemory::PrefixMemory(int64_t max_blocks, int32_t block_size, const HashKey& key)
    : block_size_(block_size), key_(key) {
  if (max_blocks <= 0) return;
  const uint64_t buckets = (static_cast<uint64_t>(max_blocks) + kWays - 1) / kWays;
  table_.resize(std::min(kMaxBuckets, std::bit_ceil(buckets)));
}

std::vector<uint64_t> PrefixMemory::Keys(const Hash128& scope,
                                         std::span<const TokenId> prompt) const {
  std::vector<uint64_t> keys;
  if (table_.empty() || prompt.empty()) return keys;
  const auto block = static_cast<size_t>(block_size_);
  const size_t blocks = (prompt.size() - 1) / block;
  keys.reserve(blocks);
  Hash128 chain = SipHash128(key_, std::as_bytes(std::span(&scope, 1)));
  std::vector<std::byte> input(sizeof(chain) + block * sizeof(TokenId));
  for (size_t b = 0; b < blocks; ++b) {
    std::memcpy(input.data(), &chain, sizeof(chain));
    std::memcpy(input.data() + sizeof(chain), prompt.data() + b * block, block * sizeof(TokenId));
    chain = SipHash128(key_, input);
    keys.push_back(chain.lo);
  }
  return keys;
}

PrefixMemory::Entry* PrefixMemory::Locate(uint64_t key) {
  for (Entry& entry : BucketOf(key)) {
    if (entry.key == key && entry.replicas != 0) return &entry;
  }
  return nullptr;
}

void PrefixMemory::Find(std::span<const uint64_t> keys, std::span<int32_t> found) {
  std::fill(found.begin(), found.end(), 0);
  uint32_t still = ~uint32_t{0};
  for (const uint64_t key : keys) {
    const Entry* const entry = Locate(key);
    still &= entry != nullptr ? entry->replicas : 0;
    if (still == 0) return;
    for (size_t r = 0; r < found.size(); ++r) found[r] += still >> r & 1;
  }
}

void PrefixMemory::Remember(std::span<const uint64_t> keys, int replica) {
  ++now_;
  const uint32_t bit = uint32_t{1} << replica;
  for (const uint64_t key : keys) {
    Entry* entry = Locate(key);
    if (entry == nullptr) {
      // By difference: the count may wrap.
      Bucket& bucket = BucketOf(key);
      entry =
          std::max_element(bucket.begin(), bucket.end(), [this](const Entry& a, const Entry& b) {
            const auto age = [this](const Entry& e) {
              return e.replicas == 0 ? ~uint32_t{0} : now_ - e.seen;
            };
            return age(a) < age(b);
          });
      *entry = Entry{key, 0, 0};
    }
    entry->replicas |= bit;
    entry->seen = now_;
  }
}

void PrefixMemory::Forget(int replica) {
  const uint32_t others = ~(uint32_t{1} << replica);
  for (Bucket& bucket : table_) {
    for (Entry& entry : bucket) entry.replicas &= others;
  }
}

}  // namespace inferd
