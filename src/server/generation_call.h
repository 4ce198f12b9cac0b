#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/authorizer.h"
#include "server/call_record.h"
#include "server/choice_set.h"
#include "server/client_stream.h"
#include "server/front_end.h"
#include "server/generation_request.h"
#include "server/prepare.h"

namespace inferd {

// One generation request from its arrival to its one end: tokenizer pool, engine,
// detokenizer thread, client. Thread-safe, except that events come from one
// thread. Always held by shared_ptr. Ends exactly once, whoever is first: the last
// token, an error, the client, the server's shutdown.
class GenerationCall final : public EventTarget,
                             public std::enable_shared_from_this<GenerationCall> {
 public:
  // `arrival_us` and `deadline_us` in Clock::NowUs; `client_deadline`: the client
  // set it (its expiry cancels the rpc). `front` must outlive this.
  struct Arrival {
    CallerInfo caller;
    int64_t arrival_us = 0;
    int64_t deadline_us = 0;
  };
  GenerationCall(FrontEnd& front, Arrival arrival, std::shared_ptr<ClientStream> client);

  // Exactly one of the three, once; Cancel may come before. Reject ends a request
  // that never was accepted.
  void Reject(const Status& status);
  void Start(std::shared_ptr<const AttachedModel> model, GenerationRequest request);
  // The same on a thread of the tokenizer pool, which goes on with it at once. `quota`:
  // the caller's, taken before the request waited for that thread.
  void StartOnPool(std::shared_ptr<const AttachedModel> model, GenerationRequest request,
                   QuotaShare quota);

  // The client is gone, or its deadline passed. The engine hears of it at once.
  void Cancel();
  // Ends it with an error, wherever it is.
  void Abort(const Status& status) override { End(status); }

  LiveRequest Describe() const override;
  void OnEvent(TokenEvent&& event) override;
  void OnBatchEnd() override;

 private:
  // False when it has ended: cancelled already, not allowed, or the server is
  // shutting down.
  bool Accept(std::shared_ptr<const AttachedModel> model, const GenerationRequest& request,
              std::optional<QuotaShare> quota);
  // What the caller may not do, or not now. Before anything waits or is computed, and
  // whoever made the call: nothing goes on without this. mutex_ held.
  // `taken`: the share of the limits, if it is there already.
  Status TakeQuota(std::optional<QuotaShare> taken);
  CacheScopeKey CacheScope() const;
  void Prepare(GenerationRequest& request);
  Status PrepareAndSubmit(GenerationRequest& request);
  void MakeDecoders(const GenerationRequest& request);
  Status HandleEvent(TokenEvent&& event);
  // The status that a finish reason of the engine means; OK for a regular end.
  Status StatusOf(FinishReason reason) const;
  void Flush();
  void End(const Status& status);
  // To the metrics, the access log and the accounting.
  void Report(const Status& status, const CallRecord& record, bool accepted);

  FrontEnd& front_;
  const Arrival arrival_;
  const std::shared_ptr<ClientStream> client_;
  const RequestId id_;
  std::shared_ptr<const AttachedModel> model_;  // set by Start, before any other thread
  bool time_limited_ = false;                   // the deadline means a partial answer; as above

  mutable std::mutex mutex_;
  bool accepted_ = false;            // guarded by mutex_
  bool submitted_ = false;           // guarded by mutex_
  bool ended_ = false;               // guarded by mutex_
  CallRecord record_;                // guarded by mutex_
  std::optional<QuotaShare> quota_;  // guarded by mutex_

  // Written before the request is submitted, then of the detokenizer thread only.
  ChoiceSet choices_;
  bool saw_first_event_ = false;
};

}  // namespace inferd
