#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "inferd/net/http.h"
#include "inferd/openai/openai.h"
#include "server/gathered_answer.h"
#include "server/generation_call.h"
#include "server/http_context.h"
#include "server/responses.h"

namespace inferd {

// One generation over HTTP whose answer goes out whole. Held by its call and by the
// exchange's events, until the call ends. Thread-safe.
template <typename Answer>
class HttpAnswer final : public ClientStream, public HttpExchangeEvents {
 public:
  HttpAnswer(FrontEnd& front, std::shared_ptr<HttpExchange> exchange, CallerInfo caller,
             AnswerContext answer, int32_t num_choices)
      : front_(front),
        caller_(std::move(caller)),
        exchange_(std::move(exchange)),
        answer_(std::move(answer)),
        gathered_(num_choices) {}

  // Before the call starts and before it is told of disconnects.
  void Launch(std::shared_ptr<GenerationCall> call) {
    std::lock_guard lock(mutex_);
    call_ = std::move(call);
  }

  // --- ClientStream
  void Begin(PromptFacts facts) override {
    std::lock_guard lock(mutex_);
    if (!ended_) answer_.prompt = std::move(facts);
  }

  Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage&) override {
    std::lock_guard lock(mutex_);
    if (!ended_) gathered_.Add(std::move(deltas));
    return OkStatus();
  }

  void End(const Status& status, const CallSummary& summary) override {
    HttpResponse response;
    std::shared_ptr<HttpExchange> exchange;
    std::shared_ptr<GenerationCall> call;  // let go of outside the lock
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      exchange = std::move(exchange_);
      call = std::move(call_);
      HttpHeaders headers = AnswerHeaders(caller_, front_);
      AddSummary(summary, &headers);
      if (status.ok()) {
        Answer answer;
        FillAnswer(answer_, gathered_.Take(), summary.usage, &answer);
        response.headers = std::move(headers);
        response.body = openai::ToJson(answer);
      } else {
        response = ErrorResponse(status, std::move(headers));
      }
    }
    exchange->Respond(std::move(response));
  }

  // --- HttpExchangeEvents
  void OnWritten(bool) override {}
  void OnDisconnect() override {
    std::shared_ptr<GenerationCall> call;
    {
      std::lock_guard lock(mutex_);
      call = call_;
    }
    if (call) call->Cancel();
  }

 private:
  FrontEnd& front_;
  const CallerInfo caller_;

  std::mutex mutex_;                        // guards all below
  std::shared_ptr<HttpExchange> exchange_;  // null once answered
  std::shared_ptr<GenerationCall> call_;    // null once ended
  AnswerContext answer_;
  GatheredAnswer gathered_;
  bool ended_ = false;
};

}  // namespace inferd
