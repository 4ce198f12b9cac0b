#include "inferd/config/layer_split.h"

#include <string>

#include "config/value_text.h"

namespace inferd {
namespace {

constexpr int64_t kMostLayers = 65536;

}  // namespace

StatusOr<std::vector<int32_t>> ParseLayerSplit(std::string_view text, int32_t stages) {
  std::vector<int32_t> layers;
  for (const std::string_view part : config::SplitList(text)) {
    const StatusOr<int64_t> count = config::ParseInteger(part);
    if (!count.ok() || *count < 1 || *count > kMostLayers) {
      return InvalidArgumentError(
          "parallel.layer_split: must be numbers of layers, as in 10,12,10");
    }
    layers.push_back(static_cast<int32_t>(*count));
  }
  if (!layers.empty() && layers.size() != static_cast<size_t>(stages)) {
    return InvalidArgumentError("parallel.layer_split: must name the layers of each of the " +
                                std::to_string(stages) + " stages of parallel.pp");
  }
  return layers;
}

}  // namespace inferd
