// Added tokens: strings that are one token wherever they stand in a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/base/ids.h"
#include "text/marked_text.h"

namespace inferd::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // not within a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in the normalised text
};

// A stretch of a text: an added token, or text between them (id -1).
struct TokenSpan {
  TokenId id;
  size_t begin;
  size_t end;
};

// Finds a set of added tokens, leftmost first, the longest at each place. Special
// tokens are found in trusted text only. Build first, then immutable: any thread.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher();

  // `pattern` is what to look for; not empty. The first token added for a pattern
  // stays.
  void Add(std::string_view pattern, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }

  // Stretches that cover `text` in order, none of them empty. They overlap where a
  // token begins within white space that the one before it took along.
  std::vector<TokenSpan> Split(const MarkedText& text) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, int>> children;
    int token = -1;  // index in tokens_
  };
  struct Found {
    int token;  // -1: none
    size_t end;
  };
  Found LongestAt(const MarkedText& text, size_t begin) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;     // a trie; 0 is the root
  std::array<int, 256> first_;  // the root's children
};

}  // namespace inferd::text
