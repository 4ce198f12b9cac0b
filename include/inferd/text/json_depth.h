#pragma once

#include <string_view>

namespace inferd::text {

// Whether the brackets of a JSON text, those in strings aside, nest at most
// `max_depth` deep. Linear; to be asked before anything is built. Any thread.
bool JsonDepthWithin(std::string_view text, int max_depth);

}  // namespace inferd::text
