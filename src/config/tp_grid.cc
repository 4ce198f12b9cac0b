#include "inferd/config/tp_grid.h"

#include "config/value_text.h"

namespace inferd {
namespace {

constexpr int64_t kMostRanks = 32;

}  // namespace

StatusOr<TpGrid> ParseTpGrid(std::string_view text) {
  const size_t cross = text.find('x');
  const StatusOr<int64_t> rows = config::ParseInteger(text.substr(0, cross));
  StatusOr<int64_t> columns = int64_t{1};
  if (cross != std::string_view::npos) columns = config::ParseInteger(text.substr(cross + 1));
  const auto sound = [](const StatusOr<int64_t>& n) {
    return n.ok() && *n >= 1 && *n <= kMostRanks;
  };
  if (!sound(rows) || !sound(columns) || *rows * *columns > kMostRanks) {
    return InvalidArgumentError(
        "parallel.tp: must be a number of ranks from 1 to 32, or rows and columns such as 2x2");
  }
  return TpGrid{static_cast<int32_t>(*rows), static_cast<int32_t>(*columns)};
}

}  // namespace inferd
