#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "inferd/server/server.h"
#include "server/accounting.h"
#include "server/client_stream.h"
#include "server/rpc_method.h"

namespace inferd {

// One generation request at its end.
struct EndedRequest {
  CallOutcome outcome = CallOutcome::kFinished;
  std::string_view finish_reason;  // stop, length, time_limit, abort, error
  CallSummary summary;
  int32_t num_choices = 1;
  int32_t max_new_tokens = 0;  // 0: never prepared
  int64_t e2e_us = 0;
  int64_t decode_us = -1;  // first to last token; -1: fewer than two
};

// The server's Prometheus metrics; each HELP text defines its metric. Labels come
// from closed sets, and every labelled series exists from the start. Thread-safe.
class Metrics {
 public:
  // `accounting` must outlive this.
  Metrics(const ServerOptions& options, const Accounting& accounting, const Clock& clock);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Creates the series of the model; the engine's numbers are read at each
  // scrape until DetachEngine returns.
  void AttachModel(const ServedModel& model, const Engine& engine);
  void DetachEngine();
  void SetState(ServerState state);

  // Every rpc, once, when its status is known.
  void RpcEnded(RpcMethod method, const Status& status);
  // Every accepted generation request, once.
  void RequestEnded(const EndedRequest& request);
  void ObserveFirstToken(int64_t ttft_us);
  // `num_tokens` handed over `elapsed_us` after the ones before.
  void ObserveTokens(int64_t elapsed_us, int32_t num_tokens);
  void ObserveTemplate(int64_t us);
  void ObserveTokenize(int64_t us);
  void StreamOpened();
  void StreamClosed();

  // All of it in the Prometheus text format.
  std::string Render() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inferd
