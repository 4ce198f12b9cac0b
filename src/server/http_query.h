#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inferd {

// %2F and the like; nullopt when malformed.
std::optional<std::string> PercentDecoded(std::string_view text);

// The values of "name=value" pairs of a query string, decoded, at most `max`; what is
// malformed is left out.
std::vector<std::string> QueryValues(std::string_view query, std::string_view name, size_t max);

}  // namespace inferd
