// Cutting pieces at matches, as every splitting pre-tokenizer does.
#pragma once

#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_view.h"
#include "text/pattern.h"
#include "text/pre_tokenizer.h"

namespace inferd::text {

// What becomes of the text that matched.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
StatusOr<SplitBehavior> ParseSplitBehavior(const JsonView& view, std::string_view key);

// Appends to `out` the pieces that `matches` make of the piece that starts at
// `offset`. `matches` cover the piece; `inverted` swaps matched and unmatched.
void AppendPieces(const std::vector<Match>& matches, SplitBehavior behavior, bool inverted,
                  uint32_t offset, std::vector<Piece>* out);

// Replaces each piece of `list` by what the pattern makes of it.
Status SplitPieces(const Pattern& pattern, SplitBehavior behavior, bool inverted, PieceList* list);

}  // namespace inferd::text
