// The key file's format: YAML in, entries out, and an entry as its lines.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "inferd/auth/key_ring.h"
#include "inferd/base/status.h"

namespace inferd::auth {

// INVALID_ARGUMENT with every error found, one per line, each naming line and field.
StatusOr<std::vector<KeyRing::Entry>> ParseKeyFile(std::string_view yaml, std::string_view origin);

// The lines of one entry below "keys:"; ParseKeyFile reads them back.
std::string KeyFileLines(const KeyRing::Entry& entry);

}  // namespace inferd::auth
