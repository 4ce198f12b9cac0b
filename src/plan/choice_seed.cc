#include "inferd/base/random.h"
#include "inferd/plan/request_spec.h"

namespace inferd {

uint64_t ChoiceSeed(uint64_t seed, int32_t index) {
  if (index == 0) return seed;
  // A block cipher of the index under the seed: choices of one request never
  // share a seed, and seeds next to each other do not give related choices.
  constexpr uint32_t kDomain = 0x63686f69;  // "choi", away from the sampler's counters
  const auto words = Philox4x32({static_cast<uint32_t>(index), 0, 0, kDomain},
                                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return (static_cast<uint64_t>(words[1]) << 32) | words[0];
}

}  // namespace inferd
