// The sampler's contract: from logits to one token, the same on every backend.
//
// For a row, in this order:
//  1. A NaN or +Inf among the logits, or no finite one left after 4: the row is
//     corrupted, nothing is drawn.
//  2. If logprobs are wanted: log-softmax of the logits as they came, in f32 or
//     better; the `logprobs` likeliest (ties: lower id first).
//  3. logit_bias is added; banned tokens become -Inf.
//  4. Repetition penalty r over every token of the history (prompt and output):
//     l > 0 ? l / r : l * r. Then l -= frequency * count + presence * (count > 0)
//     with the count of the token in the output part.
//  5. temperature 0: the largest logit, ties to the lower id. Done.
//  6. l /= temperature; p = softmax(l).
//  7. min_p: drop p < min_p * max(p). top_k: keep the k largest (ties with the
//     k-th: lower ids first). top_p: of what is left, renormalised, sorted
//     (probability descending, then id), keep the shortest prefix whose sum
//     reaches top_p; at least one token stays.
//  8. The token with the largest l - log(-log(u)), u = PhiloxUniform(seed,
//     position, token): the Gumbel-max form of sampling from p over the kept set.
//     No sum is involved, so the draw depends on neither order nor batch.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "inferd/base/ids.h"

namespace inferd {

struct SampleRow {
  float temperature = 1.0F;
  int32_t top_k = 0;
  float top_p = 1.0F;
  float min_p = 0.0F;
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::span<const std::pair<TokenId, float>> logit_bias;
  std::span<const TokenId> banned;
  std::span<const TokenId> history;  // prompt and output so far; read only with penalties
  int32_t num_prompt = 0;            // of the history
  // Where the token drawn is kept for a later step that names DrawnToken(slot); -1: nowhere.
  // Backends that overlap steps; with those the last token of `history` may be negative:
  // that of the slot, drawn by a step that is not finished yet.
  SlotId slot = kNoSlot;
  uint64_t seed = 0;
  uint64_t position = 0;  // index in the sequence of the token to be drawn
  int32_t logprobs = -1;
};

struct SampleOutput {
  TokenId token = -1;
  bool corrupted = false;
  float logprob = 0;                           // valid with logprobs >= 0
  std::vector<std::pair<TokenId, float>> top;  // likeliest first
};

}  // namespace inferd
