#include <algorithm>

#include "text/template/operators.h"
#include "text/template/text_ops.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

struct Piece {
  size_t begin;
  size_t end;
};

StatusOr<Value> MakePieces(Budget& budget, const MarkedString& text,
                           const std::vector<Piece>& pieces) {
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(text.size()));
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(pieces.size()) * 3));
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const Piece& piece : pieces)
    items.push_back(Value::String(text.Substring(piece.begin, piece.end)));
  return budget.MakeList(std::move(items), ListObject::Flavor::kList, text.trusted());
}

std::vector<Piece> SplitAtSpace(std::string_view text, int64_t limit) {
  std::vector<Piece> pieces;
  size_t i = 0;
  const auto skip = [&](bool space) {
    while (i < text.size()) {
      const CodePoint c = DecodeAt(text, i);
      if (IsSpace(c.value) != space) break;
      i += c.length;
    }
  };
  while (true) {
    skip(true);
    if (i >= text.size()) break;
    const size_t begin = i;
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) == limit) {
      pieces.push_back({begin, text.size()});
      // What remains keeps its inner space and, as in Python, its trailing one.
      break;
    }
    skip(false);
    pieces.push_back({begin, i});
  }
  return pieces;
}

std::vector<Piece> SplitAtSpaceFromRight(std::string_view text, int64_t limit) {
  std::vector<Piece> pieces;
  size_t i = text.size();
  const auto skip = [&](bool space) {
    while (i > 0) {
      const CodePoint c = DecodeBefore(text, i);
      if (IsSpace(c.value) != space) break;
      i -= c.length;
    }
  };
  while (true) {
    skip(true);
    if (i == 0) break;
    const size_t end = i;
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) == limit) {
      pieces.push_back({0, end});
      break;
    }
    skip(false);
    pieces.push_back({i, end});
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<Piece> SplitAt(std::string_view text, std::string_view separator, int64_t limit) {
  std::vector<Piece> pieces;
  size_t begin = 0;
  while (limit < 0 || static_cast<int64_t>(pieces.size()) < limit) {
    const size_t found = FindText(text, separator, begin);
    if (found == std::string_view::npos) break;
    pieces.push_back({begin, found});
    begin = found + separator.size();
  }
  pieces.push_back({begin, text.size()});
  return pieces;
}

// Looks for the separator on the reversed text, so that time stays linear.
std::vector<Piece> SplitAtFromRight(std::string_view text, std::string_view separator,
                                    int64_t limit) {
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  std::vector<Piece> pieces = SplitAt(reversed_text, reversed_separator, limit);
  for (Piece& piece : pieces) piece = {text.size() - piece.end, text.size() - piece.begin};
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace

StatusOr<Value> Split(Budget& budget, const MarkedString& text, const MarkedString* separator,
                      int64_t limit, bool from_right) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1 + static_cast<int64_t>(text.size() / 4)));
  if (separator == nullptr) {
    return MakePieces(
        budget, text,
        from_right ? SplitAtSpaceFromRight(text.text(), limit) : SplitAtSpace(text.text(), limit));
  }
  if (separator->empty()) return budget.Error("empty separator");
  return MakePieces(budget, text,
                    from_right ? SplitAtFromRight(text.text(), separator->text(), limit)
                               : SplitAt(text.text(), separator->text(), limit));
}

StatusOr<Value> SplitLines(Budget& budget, const MarkedString& text, bool keep_ends) {
  const std::string_view view = text.text();
  INFERD_RETURN_IF_ERROR(budget.Charge(1 + static_cast<int64_t>(view.size() / 4)));
  std::vector<Piece> pieces;
  size_t begin = 0;
  for (size_t i = 0; i < view.size();) {
    const CodePoint c = DecodeAt(view, i);
    size_t next = i + c.length;
    if (IsLineBreak(c.value)) {
      if (c.value == '\r' && next < view.size() && view[next] == '\n') ++next;
      pieces.push_back({begin, keep_ends ? next : i});
      begin = next;
    }
    i = next;
  }
  if (begin < view.size()) pieces.push_back({begin, view.size()});
  return MakePieces(budget, text, pieces);
}

}  // namespace inferd::chat_template
