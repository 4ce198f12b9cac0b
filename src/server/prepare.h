// From a validated request to what the engine takes: renders the chat template,
// encodes, checks the length. Runs on the tokenizer pool.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/plan/request_spec.h"
#include "inferd/server/server.h"
#include "server/generation_request.h"

namespace inferd {

struct RenderedTokens {
  std::vector<TextSegment> segments;
  std::vector<TokenId> tokens;
  int64_t template_us = -1;  // time spent; -1: nothing to render
  int64_t tokenize_us = -1;
};

// The prompt's text and tokens. CHAT_TEMPLATE_ERROR when the template refuses.
StatusOr<RenderedTokens> RenderAndEncode(const GenerationRequest& request, const ServedModel& model,
                                         const Clock& clock);

// Whose prefix cache a request uses. Tenants share nothing with each other; a
// cache_salt divides a tenant's part further.
struct CacheScopeKey {
  HashKey key;
  std::string_view tenant;  // empty: nobody has to say who they are
};

// Everything but id and deadline. CONTEXT_LENGTH_EXCEEDED when prompt and answer
// do not fit.
StatusOr<RequestSpec> BuildSpec(const GenerationRequest& request, std::vector<TokenId> tokens,
                                const ServedModel& model, const CacheScopeKey& scope,
                                EntropySource& entropy);

}  // namespace inferd
