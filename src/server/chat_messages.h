#pragma once

#include "inferd/base/status.h"
#include "inferd/v1/chat.pb.h"
#include "nlohmann/json.hpp"
#include "server/validate.h"

namespace inferd {

// The messages as chat templates expect them: an array of {role, content, ...}
// with string contents. INVALID_MESSAGE or UNSUPPORTED_PARAMETER naming the
// field, e.g. "messages[3].content[0]".
StatusOr<nlohmann::ordered_json> MessagesToJson(const v1::ChatCompletionRequest& request,
                                                const ValidationContext& context);

// chat_template_kwargs: a JSON object of limited size and depth, without the
// names the server sets itself. Empty text is an empty object.
StatusOr<nlohmann::ordered_json> ParseTemplateKwargs(std::string_view text, int64_t max_bytes);

}  // namespace inferd
