#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferd {

// Finds the first stop string in a text that arrives in pieces, and holds back
// text that may still become one. Linear time in the text for a given set of
// strings (Aho and Corasick, "Efficient string matching", CACM 1975).
// One thread at a time.
class StopMatcher {
 public:
  // `stops`: non-empty strings. `include_in_output`: emit the stop string too.
  StopMatcher(std::vector<std::string> stops, bool include_in_output);

  struct Result {
    std::string text;               // now certain to be output
    std::optional<size_t> matched;  // index in `stops`; the text is complete then
  };
  // Once something matched, must not be called again.
  Result Push(std::string_view text);
  // The end of the text: whatever was held back.
  std::string Flush();

 private:
  struct Node {
    std::vector<std::pair<unsigned char, int>> children;
    int fail = 0;
    int depth = 0;          // bytes of the path from the root
    int matched_stop = -1;  // a stop that ends here (the earliest-starting one)
  };
  int Child(int node, unsigned char byte) const;  // -1: none
  int Step(int node, unsigned char byte) const;

  std::vector<std::string> stops_;
  bool include_in_output_;
  std::vector<Node> nodes_;
  int state_ = 0;
  std::string held_;  // the last depth(state_) bytes
};

}  // namespace inferd
