#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inferd/net/listener.h"
#include "inferd/server/server.h"
#include "inferd/trace/span_exporter.h"
#include "server/accounting.h"
#include "server/ended_request.h"
#include "server/rpc_method.h"

namespace inferd {

class GrpcCallMetrics;

// The server's Prometheus metrics; each HELP text defines its metric. Labels come
// from closed sets, and every labelled series exists from the start. Thread-safe.
class Metrics {
 public:
  // `accounting` and `clock` must outlive this.
  Metrics(const ServerOptions& options, const Accounting& accounting, const Clock& clock);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Once. Creates the series of the model; the engine's numbers are read at each
  // scrape until DetachEngine returns.
  void AttachModel(const ServedModel& model, const Engine& engine);
  void DetachEngine();
  void SetState(ServerState state);

  // After each try to read the configuration again.
  void ConfigReloaded(bool successful);

  // Every rpc, once, when its status is known.
  void RpcEnded(RpcMethod method, const Status& status);
  // Every accepted generation request, once.
  void RequestEnded(const EndedRequest& request);
  void ObserveFirstToken(int64_t ttft_us);
  // `num_tokens` handed over `elapsed_us` after the ones before.
  void ObserveTokens(int64_t elapsed_us, int32_t num_tokens);
  void ObserveTemplate(int64_t us);
  void ObserveTokenize(int64_t us);
  // Tokens that waited for a stream's client when more were handed over.
  void ObserveWriteBacklog(int32_t num_tokens);
  void StreamOpened();
  void StreamClosed();
  void HttpStreamOpened();
  void HttpStreamClosed();

  // What gRPC itself sees of its calls.
  GrpcCallMetrics& grpc_calls();

  // Where the main port's numbers come from, while it is open; null: nowhere any more.
  // Called at each scrape.
  void SetListenerStats(std::function<ListenerStats()> stats);

  // Whose counts are told; must outlive this. Before the first scrape.
  void SetTracer(const SpanExporter* tracer);

  // All of it in the Prometheus text format, or only what has one of `names`.
  std::string Render(const std::vector<std::string>& names = {}) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inferd
