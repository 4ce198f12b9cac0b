// The HTTP routes that answer without generating. Called on a network thread; bodies
// are read on the tokenizer pool.
#pragma once

#include <string>

#include "server/http_call.h"

namespace inferd {

void AnswerModels(HttpCall&& call);
void AnswerModel(HttpCall&& call, const std::string& model);
void AnswerTokenize(HttpCall&& call, HttpRequest&& request);
void AnswerDetokenize(HttpCall&& call, HttpRequest&& request);

}  // namespace inferd
