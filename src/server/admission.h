// A generation request as far as an rpc's callback or a parsing thread takes it:
// validated against the model there is, or the reason why not. The same for every
// protocol; no gRPC and no HTTP in it.
#pragma once

#include "inferd/base/status.h"
#include "inferd/v1/chat.pb.h"
#include "inferd/v1/services.pb.h"
#include "server/front_end.h"
#include "server/generation_call.h"
#include "server/generation_request.h"
#include "server/responses.h"
#include "server/validate.h"

namespace inferd {

struct Admitted {
  AnswerContext answer;  // its model is null when there is none
  StatusOr<GenerationRequest> request;
};

// No exception; any thread.
Admitted Admit(FrontEnd& front, const GenerationCall::Arrival& arrival, Protocol protocol,
               bool streaming, const v1::ChatCompletionRequest& message);
Admitted Admit(FrontEnd& front, const GenerationCall::Arrival& arrival, Protocol protocol,
               bool streaming, const v1::CompletionRequest& message);

}  // namespace inferd
