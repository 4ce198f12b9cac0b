#pragma once

#include <string>

#include "inferd/base/status.h"

namespace inferd::app {

// The content of a file of at most 1 MiB, such as one of certificates; nothing for an empty
// path. INVALID_ARGUMENT naming the path if it cannot be read, is larger, or is empty.
StatusOr<std::string> ReadSmallFile(const std::string& path);

}  // namespace inferd::app
