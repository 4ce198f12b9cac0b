// The vocabulary and the merges of a tokenizer.json, read without a tree of them:
// they are nearly all of such a file, and its other parts a small document.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_cursor.h"

namespace inferd::text {

// Views refer to the text that was read, and to `cursor`.
struct BpeLists {
  struct Token {
    std::string_view content;
    int64_t id;  // -1: not an integer from 0 to 10^18 - 1
  };
  // Two tokens; or in `left` both with a space between, and `right` without data; or
  // neither with data: something else.
  struct Merge {
    std::string_view left;
    std::string_view right;
  };

  std::vector<Token> vocab;  // in the file's order; of equal contents the last counts
  std::vector<Merge> merges;
  // The document with {} for the object model.vocab and [] for the array model.merges.
  std::string rest;
  JsonCursor cursor{""};
};

// `text` is the content of the file, which must outlive what is returned, `name` what
// errors call it. FAILED_PRECONDITION where ParseJson(text, name, max_depth) would
// refuse it: that which stands for a list, and `rest` if ParseJson takes it, are valid.
StatusOr<BpeLists> ReadBpeLists(std::string_view text, std::string_view name, int max_depth);

}  // namespace inferd::text
