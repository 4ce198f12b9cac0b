#pragma once

#include <string>
#include <string_view>

namespace inferd {

// `bytes` as UTF-8: each maximal part that is not UTF-8 becomes U+FFFD, as the
// Unicode standard recommends.
std::string LossyUtf8(std::string_view bytes);

}  // namespace inferd
