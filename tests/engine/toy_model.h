#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/plan/finish_reason.h"
#include "inferd/plan/request_spec.h"

namespace inferd::testing {

inline uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t z = a ^ (b + 0x9e3779b97f4a7c15 + (a << 6) + (a >> 2));
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// A model whose KV content and draws are hashes: the content of a position depends
// on everything before it, and a draw on the content of every position, so that a
// wrong, stale or foreign block changes the text.
struct ToyModel {
  static constexpr uint64_t kPoison = ~uint64_t{0};  // what a step with bad logits writes

  int32_t vocab = 24;
  uint64_t corrupt_one_in = 0;  // 0: never

  // `before` is the content of the position before, or the salt at position 0.
  static uint64_t Content(uint64_t before, TokenId token) {
    if (before == kPoison) return kPoison;
    const uint64_t content = Mix(before, static_cast<uint64_t>(token));
    return content == kPoison ? 0 : content;
  }
  TokenId Draw(uint64_t folded, uint64_t seed, int32_t length) const {
    return static_cast<TokenId>(Mix(Mix(folded, seed), static_cast<uint64_t>(length)) %
                                static_cast<uint64_t>(vocab));
  }
  bool Corrupts(uint64_t seed, int32_t length) const {
    return corrupt_one_in != 0 &&
           Mix(seed * 31, static_cast<uint64_t>(length)) % corrupt_one_in == 0;
  }
};

// What a request's choice must say, computed without pages, batches or slots.
struct OracleText {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;
};
OracleText RunOracle(const ToyModel& model, std::span<const TokenId> prompt, uint64_t seed,
                     uint64_t salt, const StopRules& stop, int32_t max_len);

}  // namespace inferd::testing
