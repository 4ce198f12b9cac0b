// Whole files of bounded size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "inferd/base/status.h"

namespace inferd::text {

// NOT_FOUND when there is no such regular file, FAILED_PRECONDITION when it is
// larger than `max_bytes` or cannot be read.
StatusOr<std::string> ReadFile(const std::filesystem::path& path, int64_t max_bytes);

}  // namespace inferd::text
