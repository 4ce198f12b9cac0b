// What the tokenizer rpcs answer, for any protocol. Work for the tokenizer pool.
#pragma once

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/server/server.h"
#include "inferd/v1/services.pb.h"
#include "server/validate.h"

namespace inferd {

Status TokenizeText(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                    const v1::TokenizeRequest& request, v1::TokenizeResponse* response);
// INVALID_ARGUMENT also when few ids stand for more text than may be sent.
Status DetokenizeIds(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                     const v1::DetokenizeRequest& request, v1::DetokenizeResponse* response);
// The prompt that a chat request would have; nothing is generated.
Status RenderPrompt(const ServedModel& model, const RequestLimits& limits, Protocol protocol,
                    const Clock& clock, const v1::ChatCompletionRequest& request,
                    v1::RenderChatResponse* response);

}  // namespace inferd
