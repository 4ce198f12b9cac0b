// Validation of request messages: every field that the API accepts is either
// honoured, without effect on the answer, or refused by name. Pure functions of
// their arguments, cheap enough for a gRPC callback: no tokenizing, no rendering.
#pragma once

#include "inferd/base/status.h"
#include "inferd/server/server.h"
#include "inferd/v1/chat.pb.h"
#include "inferd/v1/services.pb.h"
#include "server/generation_request.h"

namespace inferd {

// Which of the two APIs a request came by: where they differ, in names of fields
// and in defaults, each keeps to its own custom.
enum class Protocol : uint8_t { kGrpc, kHttp };

// What a request is validated against.
struct ValidationContext {
  const ServedModel& model;
  const RequestLimits& limits;
  bool streaming = false;  // which of the two rpcs was called
  Protocol protocol = Protocol::kGrpc;
};

// INVALID_ARGUMENT with the offending field, or NOT_FOUND for the model.
StatusOr<GenerationRequest> ValidateChat(const v1::ChatCompletionRequest& request,
                                         const ValidationContext& context);
StatusOr<GenerationRequest> ValidateCompletion(const v1::CompletionRequest& request,
                                               const ValidationContext& context);

// An empty name means the only served model.
Status ValidateModelName(const std::string& name, const ServedModel& model);

// Ids below the vocabulary size, as TokenId.
StatusOr<std::vector<TokenId>> ValidateTokenIds(std::string_view field, const uint32_t* ids,
                                                size_t count, int32_t vocab_size);

}  // namespace inferd
