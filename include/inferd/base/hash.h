// SipHash-2-4 with 128-bit output (Aumasson, Bernstein: "SipHash: a fast
// short-input PRF", and its 128-bit variant): keyed, so that clients cannot
// aim for collisions in the prefix cache.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

namespace inferd {

struct Hash128 {
  uint64_t lo = 0;
  uint64_t hi = 0;
  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

struct HashKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

Hash128 SipHash128(const HashKey& key, std::span<const std::byte> data);

// For unordered containers: the hash is already uniform.
struct Hash128Hasher {
  size_t operator()(const Hash128& h) const { return static_cast<size_t>(h.lo); }
};

}  // namespace inferd
