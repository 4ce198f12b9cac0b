#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "server/errors.h"
#include "server/generation_call.h"
#include "server/grpc_status.h"
#include "server/pending_output.h"
#include "server/responses.h"
#include "server/rpc_context.h"
#include "server/stream_watch.h"

namespace inferd {

// The stream of one generation. One StartWrite is out at a time; what comes
// meanwhile merges. Both gRPC (through self_) and the call hold it: it goes when
// gRPC is done with it and the call has ended. Finish is called once, by Pump,
// never while a write is out and never before the call ended. Thread-safe.
template <typename Chunk>
class StreamReactor final : public grpc::ServerWriteReactor<Chunk>,
                            public ClientStream,
                            public StreamWatch::Stream {
 public:
  StreamReactor(FrontEnd& front, grpc::CallbackServerContext* context, CallerInfo caller,
                AnswerContext answer)
      : front_(front), context_(context), caller_(std::move(caller)), answer_(std::move(answer)) {}

  // Before the call starts. gRPC's share of the ownership lasts until OnDone.
  void Launch(std::shared_ptr<StreamReactor> self, std::shared_ptr<GenerationCall> call) {
    self_ = std::move(self);
    call_ = std::move(call);
    front_.streams().Add(self_);
    front_.metrics().StreamOpened();
  }

  // --- ClientStream
  void Begin(PromptFacts facts) override {
    std::lock_guard lock(mutex_);
    if (!ended_) answer_.prompt = std::move(facts);
  }

  Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage& usage) override {
    std::lock_guard lock(mutex_);
    if (ended_) return OkStatus();
    front_.metrics().ObserveWriteBacklog(pending_.tokens());
    for (ChoiceDelta& delta : deltas) pending_.Add(std::move(delta));
    usage_ = usage;
    // Only what waits for the client is its doing, not the size of one delivery.
    if ((writing_ || broken_) &&
        pending_.bytes() > static_cast<size_t>(front_.options().max_stream_buffer_bytes)) {
      return SlowConsumerError();
    }
    Pump();
    return OkStatus();
  }

  void End(const Status& status, const CallSummary& summary) override {
    std::lock_guard lock(mutex_);
    ended_ = true;
    status_ = status;
    summary_ = summary;
    usage_ = summary.usage;
    if (DropsPendingOutput(status)) pending_.Clear();
    Pump();
  }

  // --- StreamWatch::Stream
  void CheckTime(int64_t now_us) override {
    std::lock_guard lock(mutex_);
    const int64_t limit_us = front_.options().write_stall_timeout_ms * 1000;
    if (writing_ && !stalled_ && !done_ && now_us - write_started_us_ > limit_us) {
      stalled_ = true;
      context_->TryCancel();  // OnCancel and OnWriteDone(false) follow
    }
  }

  // --- gRPC
  void OnWriteDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) broken_ = true;
      Pump();
    }
    if (!ok) call_->Cancel();
  }
  void OnCancel() override { call_->Cancel(); }
  void OnDone() override {
    front_.metrics().StreamClosed();
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    call_.reset();
    const std::shared_ptr<StreamReactor> last = std::move(self_);
  }

 private:
  // Writes or finishes what can be; mutex_ held.
  void Pump() {
    if (writing_ || finished_) return;
    if (!broken_ && NextChunk()) {
      if (!answered_) AddAnswerMetadata(caller_, front_, context_);
      answered_ = true;
      writing_ = true;
      write_started_us_ = front_.clock().NowUs();
      this->StartWrite(&chunk_);
      return;
    }
    if (!ended_) return;
    finished_ = true;
    AddTrailers(caller_, status_, summary_, answered_, context_);
    this->Finish(ToGrpcStatus(status_));
  }

  // Fills chunk_ with what goes out next; false when nothing does.
  bool NextChunk() {
    std::vector<PendingOutput::Item> items = pending_.TakeNext();
    chunk_.Clear();
    if (!items.empty()) {
      FillChunk(answer_, std::move(items), !answered_, usage_, &chunk_);
      return true;
    }
    if (!ended_ || !status_.ok() || !answer_.include_usage || usage_sent_) return false;
    usage_sent_ = true;
    FillUsageChunk(answer_, usage_, &chunk_);
    return true;
  }

  FrontEnd& front_;
  grpc::CallbackServerContext* const context_;  // valid until OnDone
  const CallerInfo caller_;
  std::shared_ptr<StreamReactor> self_;
  std::shared_ptr<GenerationCall> call_;

  std::mutex mutex_;  // guards all below
  AnswerContext answer_;
  PendingOutput pending_;
  CallUsage usage_;
  CallSummary summary_;
  Status status_;
  Chunk chunk_;  // being written while writing_
  int64_t write_started_us_ = 0;
  bool writing_ = false;
  bool answered_ = false;  // a message was written
  bool usage_sent_ = false;
  bool broken_ = false;  // a write failed: the client is gone
  bool stalled_ = false;
  bool ended_ = false;
  bool finished_ = false;
  bool done_ = false;  // context_ is gone
};

}  // namespace inferd
