// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure
// function of (key, counter): it does not depend on who else drew before.
#pragma once

#include <array>
#include <cstdint>

namespace inferd {

// The ten-round Philox4x32 block function.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Uniform in the open interval (0, 1) with 23 bits: draw number `draw` for the
// token at `position` of the sequence seeded with `seed`. It is word draw % 4 of
// the block with counter {position low, position high, draw / 4, 0}.
float PhiloxUniform(uint64_t seed, uint64_t position, uint32_t draw);
// How a word of a block becomes that number.
inline float UniformFromBits(uint32_t bits) {
  return (static_cast<float>(bits >> 9) + 0.5F) * 0x1.0p-23F;
}

// Source of unpredictable bits (seeds for unseeded requests, hash keys, ids).
// Injected; thread-safe.
class EntropySource {
 public:
  virtual ~EntropySource() = default;
  virtual uint64_t Next64() = 0;
};

// getrandom(2).
class SystemEntropy final : public EntropySource {
 public:
  uint64_t Next64() override;
};

}  // namespace inferd
