#include "text/added_tokens.h"

#include <algorithm>

#include "inferd/text/utf8.h"
#include "text/unicode.h"

namespace inferd::text {
namespace {

bool EndsInWord(std::string_view text) {
  return !text.empty() && IsWordChar(DecodeUtf8(text, PreviousUtf8(text, text.size())).value);
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordChar(DecodeUtf8(text, 0).value);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher() : nodes_(1) { first_.fill(-1); }

void AddedTokenMatcher::Add(std::string_view pattern, const AddedToken& token) {
  int node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[static_cast<size_t>(node)].children;
    const auto child = std::find_if(children.begin(), children.end(),
                                    [&](const auto& entry) { return entry.first == byte; });
    if (child != children.end()) {
      node = child->second;
      continue;
    }
    const int next = static_cast<int>(nodes_.size());
    children.emplace_back(byte, next);
    nodes_.emplace_back();
    if (node == 0) first_[byte] = next;
    node = next;
  }
  int& slot = nodes_[static_cast<size_t>(node)].token;
  if (slot >= 0) return;
  slot = static_cast<int>(tokens_.size());
  tokens_.push_back(token);
}

AddedTokenMatcher::Found AddedTokenMatcher::LongestAt(const MarkedText& text, size_t begin) const {
  Found found = {-1, 0};
  int node = first_[static_cast<unsigned char>(text.text[begin])];
  for (size_t i = begin + 1; node >= 0; ++i) {
    const Node& at = nodes_[static_cast<size_t>(node)];
    if (at.token >= 0 &&
        (!tokens_[static_cast<size_t>(at.token)].special || text.trust.AllTrusted(begin, i))) {
      found = {at.token, i};
    }
    if (i == text.text.size()) break;
    const auto byte = static_cast<unsigned char>(text.text[i]);
    node = -1;
    for (const auto& [key, child] : at.children) {
      if (key == byte) node = child;
    }
  }
  return found;
}

std::vector<TokenSpan> AddedTokenMatcher::Split(const MarkedText& text) const {
  std::vector<TokenSpan> spans;
  const std::string_view all = text.text;
  size_t covered = 0;      // all before is in `spans`
  size_t space_begin = 1;  // the white space scanned last; nothing yet
  size_t space_end = 0;
  size_t at = 0;
  while (!tokens_.empty() && at < all.size()) {
    if (first_[static_cast<unsigned char>(all[at])] < 0) {
      ++at;
      continue;
    }
    const Found found = LongestAt(text, at);
    if (found.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(found.token)];
    size_t begin = at;
    size_t end = found.end;
    at = end;
    if (token.single_word &&
        (EndsInWord(all.substr(0, begin)) || StartsWithWord(all.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      while (begin > covered) {
        const size_t previous = PreviousUtf8(all, begin);
        if (!IsWhitespace(DecodeUtf8(all, previous).value)) break;
        begin = previous;
      }
      begin = std::max(begin, covered);
    }
    if (token.rstrip) {
      // Matches within white space that was scanned already do not scan it again.
      if (end < space_begin || end > space_end) {
        space_begin = end;
        space_end = end;
        while (space_end < all.size()) {
          const CodePoint c = DecodeUtf8(all, space_end);
          if (!IsWhitespace(c.value)) break;
          space_end += c.length;
        }
      }
      end = space_end;
    }
    if (covered < begin) spans.push_back({-1, covered, begin});
    spans.push_back({token.id, begin, end});
    // A match within white space that the span before took along moves this back:
    // what follows the match counts again, as in the library.
    covered = end;
  }
  if (covered < all.size()) spans.push_back({-1, covered, all.size()});
  return spans;
}

}  // namespace inferd::text
