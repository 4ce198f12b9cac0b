// JSON from files we did not write: bounded in size, depth and number of values
// before anything is built, duplicate keys refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"
#include "nlohmann/json.hpp"

namespace inferd::model {

inline constexpr size_t kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonValues = 1'000'000;

// The document, or FAILED_PRECONDITION starting with `what` (a file name).
StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view what);

// The contents of a regular file of at most `max_bytes`; NOT_FOUND when there is
// none. Does not wait on pipes or devices.
StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path, size_t max_bytes);

// Opens a regular file for reading and gives its descriptor, size and time of change.
struct OpenedFile {
  UniqueFd fd;
  size_t bytes = 0;
  int64_t changed_ns = 0;
};
StatusOr<OpenedFile> OpenRegularFile(const std::filesystem::path& path);

// Text from a file, fit for an error message: control characters replaced, cut
// to 64 bytes.
std::string Printable(std::string_view text);

}  // namespace inferd::model
