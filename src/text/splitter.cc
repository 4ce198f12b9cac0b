#include "text/splitter.h"

#include <algorithm>
#include <string>
#include <utility>

namespace inferd::text {

StatusOr<SplitBehavior> ParseSplitBehavior(const JsonView& view, std::string_view key) {
  INFERD_ASSIGN_OR_RETURN(const std::string name, view.String(key));
  for (const auto& [known, behavior] : {std::pair{"Removed", SplitBehavior::kRemoved},
                                        {"Isolated", SplitBehavior::kIsolated},
                                        {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
                                        {"MergedWithNext", SplitBehavior::kMergedWithNext},
                                        {"Contiguous", SplitBehavior::kContiguous}}) {
    if (name == known) return SplitBehavior{behavior};
  }
  return view.Error("behavior \"" + name + "\" is not supported");
}

void AppendPieces(const std::vector<Match>& matches, SplitBehavior behavior, bool inverted,
                  uint32_t offset, std::vector<Piece>* out) {
  const size_t first = out->size();
  const auto push = [&](const Match& match) {
    out->push_back(
        {offset + static_cast<uint32_t>(match.begin), offset + static_cast<uint32_t>(match.end)});
  };
  bool previous = false;  // whether the neighbour just handled matched
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Match& match : matches) push(match);
      break;
    case SplitBehavior::kRemoved:
      for (const Match& match : matches) {
        if (match.matched == inverted) push(match);
      }
      break;
    case SplitBehavior::kContiguous:
      for (const Match& match : matches) {
        const bool matched = match.matched != inverted;
        if (matched == previous && out->size() > first) {
          out->back().end = offset + static_cast<uint32_t>(match.end);
        } else {
          push(match);
        }
        previous = matched;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Match& match : matches) {
        const bool matched = match.matched != inverted;
        if (matched && !previous && out->size() > first) {
          out->back().end = offset + static_cast<uint32_t>(match.end);
        } else {
          push(match);
        }
        previous = matched;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
        const bool matched = match->matched != inverted;
        if (matched && !previous && out->size() > first) {
          out->back().begin = offset + static_cast<uint32_t>(match->begin);
        } else {
          push(*match);
        }
        previous = matched;
      }
      std::reverse(out->begin() + static_cast<std::ptrdiff_t>(first), out->end());
      break;
  }
  out->erase(std::remove_if(out->begin() + static_cast<std::ptrdiff_t>(first), out->end(),
                            [](const Piece& piece) { return piece.begin == piece.end; }),
             out->end());
}

Status SplitPieces(const Pattern& pattern, SplitBehavior behavior, bool inverted, PieceList* list) {
  Pattern::Searcher searcher(pattern);
  std::vector<Match> matches;
  std::vector<Piece> pieces;
  const std::string_view text = list->text;
  for (const Piece& piece : list->pieces) {
    INFERD_RETURN_IF_ERROR(
        searcher.Run(text.substr(piece.begin, piece.end - piece.begin), &matches));
    AppendPieces(matches, behavior, inverted, piece.begin, &pieces);
  }
  list->pieces = std::move(pieces);
  return OkStatus();
}

}  // namespace inferd::text
