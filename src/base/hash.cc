#include "inferd/base/hash.h"

#include <bit>
#include <cstring>

namespace inferd {
namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Absorb(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
  uint64_t Squeeze() {
    for (int i = 0; i < 4; ++i) Round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

Hash128 SipHash128(const HashKey& key, std::span<const std::byte> data) {
  SipState s{0x736f6d6570736575 ^ key.k0, 0x646f72616e646f6d ^ key.k1 ^ 0xee,
             0x6c7967656e657261 ^ key.k0, 0x7465646279746573 ^ key.k1};
  const size_t whole = data.size() & ~size_t{7};
  for (size_t i = 0; i < whole; i += 8) {
    uint64_t word;
    std::memcpy(&word, data.data() + i, 8);  // little-endian hosts only, as everywhere here
    s.Absorb(word);
  }
  uint64_t last = static_cast<uint64_t>(data.size()) << 56;
  if (data.size() > whole) std::memcpy(&last, data.data() + whole, data.size() - whole);
  s.Absorb(last);
  s.v2 ^= 0xee;
  const uint64_t lo = s.Squeeze();
  s.v1 ^= 0xdd;
  return {lo, s.Squeeze()};
}

}  // namespace inferd
