// The written forms of configuration values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::config {

// Each parser wants the whole text, without surrounding blanks, and answers
// INVALID_ARGUMENT with what was expected.
StatusOr<int64_t> ParseInteger(std::string_view text);
StatusOr<double> ParseNumber(std::string_view text);  // finite
StatusOr<bool> ParseBoolean(std::string_view text);
StatusOr<int64_t> ParseDurationMs(std::string_view text);
StatusOr<int64_t> ParseSizeBytes(std::string_view text);

// The shortest forms that parse to the same value.
std::string FormatNumber(double value);
std::string FormatDurationMs(int64_t ms);
std::string FormatSizeBytes(int64_t bytes);

std::string_view Trim(std::string_view text);
// Pieces between commas, trimmed; none for blank text.
std::vector<std::string_view> SplitList(std::string_view text);

}  // namespace inferd::config
