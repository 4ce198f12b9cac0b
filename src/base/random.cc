#include "inferd/base/random.h"

#include <sys/random.h>

#include "inferd/base/check.h"

namespace inferd {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

float PhiloxUniform(uint64_t seed, uint64_t position, uint32_t draw) {
  const auto block = Philox4x32(
      {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), draw / 4, 0},
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return UniformFromBits(block[draw % 4]);
}

uint64_t SystemEntropy::Next64() {
  uint64_t value = 0;
  // Reads of up to 256 bytes are whole once the pool is initialised.
  INFERD_CHECK(getrandom(&value, sizeof(value), 0) == sizeof(value));
  return value;
}

}  // namespace inferd
