#pragma once

#include <string>
#include <utility>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/openai/openai.h"
#include "server/pending_output.h"
#include "server/responses.h"

namespace inferd {

// An answer's deltas as server-sent events, as OpenAI's clients read them: one chunk
// with one choice per event. One thread at a time.
template <typename Chunk>
class SseChunks {
 public:
  explicit SseChunks(AnswerContext answer) : answer_(std::move(answer)) {}

  void SetPrompt(PromptFacts facts) { answer_.prompt = std::move(facts); }

  std::string Events(std::vector<PendingOutput::Item>&& items, const CallUsage& usage) {
    std::string out;
    for (PendingOutput::Item& item : items) {
      std::vector<PendingOutput::Item> one;
      one.push_back(std::move(item));
      chunk_.Clear();
      FillChunk(answer_, std::move(one), std::exchange(first_, false), usage, &chunk_);
      AddEvent(&out);
    }
    return out;
  }

  // What comes last: usage, when asked for, and the mark of the end; or the error.
  // Nothing for a client that cancelled.
  std::string Closing(const Status& status, const CallUsage& usage) {
    std::string out;
    if (!status.ok()) {
      if (status.code() == StatusCode::kCancelled) return out;
      return "event: error\ndata: " + openai::ErrorJson(status) + "\n\n";
    }
    if (answer_.include_usage) {
      chunk_.Clear();
      FillUsageChunk(answer_, usage, &chunk_);
      AddEvent(&out);
    }
    return out + "data: [DONE]\n\n";
  }

 private:
  void AddEvent(std::string* out) {
    *out += "data: ";
    *out += Json(chunk_);
    *out += "\n\n";
  }
  std::string Json(const v1::ChatCompletionChunk& chunk) {
    return openai::ToJson(chunk, answer_.include_usage);
  }
  std::string Json(const v1::CompletionChunk& chunk) {
    return openai::ToJson(chunk, answer_.include_usage, &offsets_);
  }

  AnswerContext answer_;
  Chunk chunk_;
  openai::TextOffsets offsets_;
  bool first_ = true;  // no chunk yet
};

}  // namespace inferd
