#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve_load/work.h"

namespace inferd::bench {

// What one event of a streamed /v1/completions answer says.
struct CompletionEvent {
  bool valid = false;  // JSON of the expected form
  bool done = false;   // "[DONE]"
  bool error = false;  // an in-band error
  int32_t tokens = 0;  // 1 when a choice has text: such servers send token by token
  // -1: not told.
  int32_t prompt_tokens = -1;
  int32_t completion_tokens = -1;
  int32_t cached_tokens = -1;
};

CompletionEvent ParseCompletionEvent(std::string_view data);

// The JSON body that asks for `work`, streamed, past end tokens. Temperature 0 is
// spelt so that a server samples greedily in the cheapest way it knows.
std::string CompletionBody(const LoadOptions& options, const Work& work);

// The size of the vocabulary in an answer of /v1/models; 0 when it is not told.
int32_t VocabSizeOf(std::string_view models_json);

}  // namespace inferd::bench
