#pragma once

#include <string_view>

#include "inferd/base/status.h"
#include "inferd/openai/openai.h"

namespace inferd::openai {

// Whether `body` is one JSON object (RFC 8259, UTF-8) within `limits`, with every
// name once per object and nothing after it. Keeps nothing but the names of the
// objects that are open; never recurses. INVALID_ARGUMENT / INVALID_JSON.
Status CheckJson(std::string_view body, const JsonLimits& limits);

}  // namespace inferd::openai
