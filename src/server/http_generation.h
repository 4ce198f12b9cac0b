// The two HTTP routes that generate. Called on a network thread; the body is read on
// the tokenizer pool.
#pragma once

#include "server/http_call.h"

namespace inferd {

void StartHttpChat(HttpCall&& call, HttpRequest&& request);
void StartHttpCompletion(HttpCall&& call, HttpRequest&& request);

}  // namespace inferd
