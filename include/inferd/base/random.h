// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure
// function of (key, counter): it does not depend on who else drew before.
#pragma once

#include <array>
#include <cstdint>

namespace inferd {

// The ten-round Philox4x32 block function.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Uniform in [0, 1) with 24 bits: the draw number `draw` for the token at
// `position` of the sequence seeded with `seed`.
float PhiloxUniform(uint64_t seed, uint64_t position, uint32_t draw);

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
