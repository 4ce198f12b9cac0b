// Golden checkpoints that every shape can split, and what one rank makes of them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "golden_files.h"
#include "inferd/model/parallel.h"
#include "tap_ops.h"

namespace inferd::testing {

// Of any split, from the logits of one rank: sums over ranks are sums in another order, no more
// (docs/scaling.md, Exactness). Logits reach 40; the most that was seen is 8e-5.
inline constexpr float kSplitTolerance = 2e-4F;

using Logits = std::map<TapOps::Key, std::vector<float>>;

// Of all prompts of a checkpoint.
struct Answer {
  std::vector<std::vector<TokenId>> texts;
  Logits logits;  // of every row that a token was drawn from
};

// So many tokens of a prompt's text are compared where that takes long.
inline constexpr int32_t kAnswerTokens = 24;

// What this family's own checkpoint cannot be split into: six query heads over four ranks, two
// layers over three stages.
bool IsRefused(const std::string& family, const ParallelShape& shape);

// A checkpoint that the shape can split: the family's own; where that is refused, one made of it
// with twice the query heads, which computes the same function, or with a third layer. It
// is there until the program ends.
const std::filesystem::path& SplittableDir(const std::string& family, const ParallelShape& shape);

// What to compare SplittableDir's answers with: transformers' for what they computed it for, those
// of one rank for a checkpoint with another layer.
const std::vector<ExpectedPrompt>& SplittableExpected(const std::string& family,
                                                      const ParallelShape& shape);

// The answers of so many ranks in threads, all prompts together, kAnswerTokens each. Computed
// once.
const Answer& AnswerInThreads(const std::string& family, const std::filesystem::path& dir,
                              const std::string& backend, const ParallelShape& shape);

// Over all rows of `wanted`; infinite when one is not in `got`, or is of another size.
float LargestDifference(const Logits& wanted, const Logits& got);

}  // namespace inferd::testing
