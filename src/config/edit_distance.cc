#include "config/edit_distance.h"

#include <algorithm>
#include <array>

namespace inferd::config {

size_t EditDistance(std::string_view a, std::string_view b) {
  constexpr size_t kMax = 64;
  a = a.substr(0, kMax);
  b = b.substr(0, kMax);
  // rows[i % 3][j]: distance of the first i bytes of a and the first j of b.
  std::array<std::array<size_t, kMax + 1>, 3> rows{};
  for (size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::array<size_t, kMax + 1>& row = rows[i % 3];
    const std::array<size_t, kMax + 1>& above = rows[(i + 2) % 3];
    const std::array<size_t, kMax + 1>& two_above = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], two_above[j - 2] + 1);
      }
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace inferd::config
