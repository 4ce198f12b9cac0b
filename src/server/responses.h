// From deltas to the messages of the API. No gRPC; one thread per answer at a
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/v1/chat.pb.h"
#include "inferd/v1/services.pb.h"
#include "server/choice_delta.h"
#include "server/front_end.h"
#include "server/pending_output.h"

namespace inferd {

// What all messages of one answer share.
struct AnswerContext {
  std::shared_ptr<const AttachedModel> model;
  std::string id;       // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // Unix seconds
  bool logprobs = false;
  bool token_ids = false;
  bool include_usage = false;     // a last chunk with usage
  bool continuous_usage = false;  // usage in every chunk
  PromptFacts prompt;             // from ClientStream::Begin
};

// One message of a stream, from content or ends that go out together. `first`:
// no message of this answer came before.
void FillChunk(const AnswerContext& context, std::vector<PendingOutput::Item>&& items, bool first,
               const CallUsage& usage, v1::ChatCompletionChunk* chunk);
void FillChunk(const AnswerContext& context, std::vector<PendingOutput::Item>&& items, bool first,
               const CallUsage& usage, v1::CompletionChunk* chunk);
// The last message, with usage alone.
void FillUsageChunk(const AnswerContext& context, const CallUsage& usage,
                    v1::ChatCompletionChunk* chunk);
void FillUsageChunk(const AnswerContext& context, const CallUsage& usage,
                    v1::CompletionChunk* chunk);
// A whole answer; `choices` in order, each all of its text and its end.
void FillAnswer(const AnswerContext& context, std::vector<ChoiceDelta>&& choices,
                const CallUsage& usage, v1::ChatCompletion* answer);
void FillAnswer(const AnswerContext& context, std::vector<ChoiceDelta>&& choices,
                const CallUsage& usage, v1::Completion* answer);

}  // namespace inferd
