// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011), the same numbers as
// inferd/base/random.h gives.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace inferd::cuda {

struct PhiloxBlock {
  uint32_t words[4];
};

// Draws 4 * block .. 4 * block + 3 for the token at `position` of the sequence seeded
// with `seed`.
SIMT_HOST_DEVICE PhiloxBlock Philox(uint64_t seed, uint64_t position, uint32_t block) {
  PhiloxBlock c = {
      {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), block, 0}};
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53U} * c.words[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57U} * c.words[2];
    c = {{static_cast<uint32_t>(product1 >> 32) ^ c.words[1] ^ key0,
          static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ c.words[3] ^ key1,
          static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return c;
}

// In the open interval (0, 1), with 23 bits.
SIMT_HOST_DEVICE float UniformFromWord(uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5F) * 0x1.0p-23F;
}

}  // namespace inferd::cuda
