#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "inferd/net/http.h"
#include "server/errors.h"
#include "server/generation_call.h"
#include "server/http_context.h"
#include "server/pending_output.h"
#include "server/sse_chunks.h"
#include "server/stream_watch.h"

namespace inferd {

// One generation over HTTP as server-sent events. One Write is out at a time; what
// comes meanwhile merges. Nothing is sent before the first text, so that an early end
// still has its own HTTP status; later errors are an event. Unless that takes so long
// that what is between takes the connection for dead: then a comment goes out, which
// clients ignore, and again whenever as long nothing did. Held by its call and by the
// exchange's events, until the answer is complete or the client is gone.
// Thread-safe; the exchange is never called with the lock held.
template <typename Chunk>
class HttpStream final : public ClientStream,
                         public HttpExchangeEvents,
                         public StreamWatch::Stream,
                         public std::enable_shared_from_this<HttpStream<Chunk>> {
 public:
  HttpStream(FrontEnd& front, std::shared_ptr<HttpExchange> exchange, CallerInfo caller,
             AnswerContext answer)
      : front_(front),
        caller_(std::move(caller)),
        exchange_(std::move(exchange)),
        chunks_(std::move(answer)),
        last_write_us_(front_.clock().NowUs()) {
    front_.metrics().HttpStreamOpened();
  }
  ~HttpStream() override { front_.metrics().HttpStreamClosed(); }

  // Before the call starts and before it is told of disconnects.
  void Launch(std::shared_ptr<GenerationCall> call) {
    {
      std::lock_guard lock(mutex_);
      call_ = std::move(call);
    }
    if (front_.options().sse_keepalive_ms > 0) front_.streams().Add(this->weak_from_this());
  }

  // --- ClientStream
  void Begin(PromptFacts facts) override {
    std::lock_guard lock(mutex_);
    if (!ended_) chunks_.SetPrompt(std::move(facts));
  }

  Status Deliver(std::vector<ChoiceDelta>&& deltas, const CallUsage& usage) override {
    {
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
    }
    Pump();
    return OkStatus();
  }

  void End(const Status& status, const CallSummary& summary) override {
    std::shared_ptr<GenerationCall> call;  // let go of outside the lock
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      status_ = status;
      usage_ = summary.usage;
      summary_ = summary;
      call = std::move(call_);
      if (DropsPendingOutput(status)) pending_.Clear();
    }
    Pump();
  }

  // --- StreamWatch::Stream
  void CheckTime(int64_t now_us) override {
    {
      std::lock_guard lock(mutex_);
      if (ended_ || writing_ || now_us - last_write_us_ < front_.options().sse_keepalive_ms * 1000)
        return;
      silent_ = true;
    }
    Pump();
  }

  // --- HttpExchangeEvents
  void OnWritten(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) broken_ = true;
    }
    if (ok) {
      Pump();
    } else {
      OnDisconnect();
    }
  }

  void OnDisconnect() override {
    std::shared_ptr<GenerationCall> call;
    std::shared_ptr<HttpExchange> exchange;
    {
      std::lock_guard lock(mutex_);
      broken_ = true;
      pending_.Clear();
      call = call_;
      exchange = std::move(exchange_);
    }
    if (call) call->Cancel();
  }

 private:
  // What is to be done with the exchange, decided under the lock and done without it:
  // only one Write is out at a time, so nothing can come between.
  struct Step {
    enum class Kind { kNothing, kWrite, kFinish, kRefuse } kind = Kind::kNothing;
    bool first = false;    // the head goes with it
    bool complete = true;  // the client was told how it ended
    std::string bytes;
    std::shared_ptr<HttpExchange> exchange;
  };

  void Pump() {
    Step step = NextStep();
    switch (step.kind) {
      case Step::Kind::kNothing:
        return;
      case Step::Kind::kWrite:
        if (step.first) step.exchange->StartStream(Head());
        step.exchange->Write(std::move(step.bytes));
        return;
      case Step::Kind::kFinish:
        step.exchange->Finish(step.complete);
        return;
      case Step::Kind::kRefuse: {
        HttpHeaders headers = AnswerHeaders(caller_, front_);
        AddSummary(summary_, &headers);  // fixed since End
        step.exchange->Respond(ErrorResponse(status_, std::move(headers)));
        return;
      }
    }
  }

  Step NextStep() {
    std::lock_guard lock(mutex_);
    Step step;
    if (writing_ || broken_ || exchange_ == nullptr) return step;
    for (auto items = pending_.TakeNext(); !items.empty(); items = pending_.TakeNext()) {
      step.bytes += chunks_.Events(std::move(items), usage_);
    }
    const bool begun = answered_ || !step.bytes.empty() || status_.ok();
    if (std::exchange(silent_, false) && step.bytes.empty() && !ended_) step.bytes = ":\n\n";
    if (ended_ && begun && !closed_) {
      closed_ = true;
      step.bytes += chunks_.Closing(status_, usage_);
    }
    if (!step.bytes.empty()) {
      step.kind = Step::Kind::kWrite;
      step.first = !std::exchange(answered_, true);
      step.exchange = exchange_;
      writing_ = true;
      last_write_us_ = front_.clock().NowUs();
    } else if (ended_) {
      step.kind = answered_ ? Step::Kind::kFinish : Step::Kind::kRefuse;
      step.complete = status_.code() != StatusCode::kCancelled;
      step.exchange = std::move(exchange_);
    }
    return step;
  }

  HttpResponse Head() const {
    HttpResponse head;
    head.content_type = "text/event-stream; charset=utf-8";
    head.headers = AnswerHeaders(caller_, front_);
    head.headers.emplace_back("cache-control", "no-cache");
    head.headers.emplace_back("x-accel-buffering", "no");  // for proxies that gather
    return head;
  }

  FrontEnd& front_;
  const CallerInfo caller_;

  std::mutex mutex_;                        // guards all below
  std::shared_ptr<HttpExchange> exchange_;  // null once answered or gone
  std::shared_ptr<GenerationCall> call_;    // null once ended
  SseChunks<Chunk> chunks_;
  PendingOutput pending_;
  CallUsage usage_;
  CallSummary summary_;
  Status status_;
  int64_t last_write_us_;
  bool silent_ = false;  // for so long that something must be said
  bool writing_ = false;
  bool answered_ = false;  // a Write was made
  bool closed_ = false;    // what comes last was put into a Write
  bool broken_ = false;    // the client is gone
  bool ended_ = false;
};

}  // namespace inferd
