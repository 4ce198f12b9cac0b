#pragma once

#include <cstddef>
#include <string_view>

namespace inferd::config {

// Least number of insertions, deletions, replacements and swaps of neighbours
// that turn `a` into `b`. Longer texts than 64 bytes are cut there.
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace inferd::config
