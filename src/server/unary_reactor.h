#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "server/gathered_answer.h"
#include "server/generation_call.h"
#include "server/grpc_status.h"
#include "server/responses.h"
#include "server/rpc_context.h"

namespace inferd {

// One generation whose answer goes out whole: the same deltas as a stream's,
// gathered. Owned as StreamReactor is. Thread-safe.
template <typename Answer>
class UnaryReactor final : public grpc::ServerUnaryReactor, public ClientStream {
 public:
  UnaryReactor(FrontEnd& front, grpc::CallbackServerContext* context, CallerInfo caller,
               AnswerContext answer, int32_t num_choices, Answer* response)
      : front_(front),
        context_(context),
        caller_(std::move(caller)),
        response_(response),
        answer_(std::move(answer)),
        gathered_(num_choices) {}

  void Launch(std::shared_ptr<UnaryReactor> self, std::shared_ptr<GenerationCall> call) {
    self_ = std::move(self);
    call_ = std::move(call);
  }

  void Begin(PromptFacts facts) override {
    std::lock_guard lock(mutex_);
    if (!ended_) answer_.prompt = std::move(facts);
  }

  Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage&) override {
    std::lock_guard lock(mutex_);
    if (ended_) return OkStatus();
    gathered_.Add(std::move(deltas));
    return OkStatus();
  }

  void End(const Status& status, const CallSummary& summary) override {
    std::lock_guard lock(mutex_);
    ended_ = true;
    if (status.ok()) {
      FillAnswer(answer_, gathered_.Take(), summary.usage, response_);
      AddAnswerMetadata(caller_, front_, context_);
    }
    AddTrailers(caller_, status, summary, status.ok(), context_);
    Finish(ToGrpcStatus(status));
  }

  void OnCancel() override { call_->Cancel(); }
  void OnDone() override {
    call_.reset();
    const std::shared_ptr<UnaryReactor> last = std::move(self_);
  }

 private:
  FrontEnd& front_;
  grpc::CallbackServerContext* const context_;  // valid until OnDone
  const CallerInfo caller_;
  Answer* const response_;  // likewise
  std::shared_ptr<UnaryReactor> self_;
  std::shared_ptr<GenerationCall> call_;

  std::mutex mutex_;  // guards all below
  AnswerContext answer_;
  GatheredAnswer gathered_;
  bool ended_ = false;
};

}  // namespace inferd
