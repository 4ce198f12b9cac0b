#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "inferd/server/server.h"
#include "inferd/trace/span_exporter.h"
#include "server/access_log.h"
#include "server/accounting.h"
#include "server/authorizer.h"
#include "server/event_router.h"
#include "server/metrics.h"
#include "server/stream_watch.h"
#include "server/worker_pool.h"

namespace inferd {

// The model and engine that requests use, fixed once attached.
struct AttachedModel {
  ServedModel model;
  Engine& engine;
};

// What all services share: the state, the model once there is one, the pools and
// the counters. No gRPC in it. Thread-safe.
class FrontEnd {
 public:
  FrontEnd(const ServerOptions& options, const Clock& clock, EntropySource& entropy,
           std::shared_ptr<spdlog::logger> logger);

  void Attach(ServedModel model, Engine& engine);
  void SetState(ServerState state);
  ServerState state() const;
  // kReady, and the engine takes requests: its ranks are there.
  bool serving() const;
  // The engine reported that it is dead.
  void EngineDied();

  // The model, or why there is none to use.
  StatusOr<std::shared_ptr<const AttachedModel>> Model() const;
  // The same for somebody: also why they may not use it.
  StatusOr<std::shared_ptr<const AttachedModel>> ModelFor(const CallerInfo& caller) const;
  // Null before Attach.
  std::shared_ptr<const AttachedModel> model_or_null() const;

  RequestId NextRequestId() { return next_id_.fetch_add(1); }
  // 24 hexadecimal digits.
  std::string RandomId();
  void LogAccess(const AccessRecord& record);

  const ServerOptions& options() const { return options_; }
  const Clock& clock() const { return clock_; }
  EntropySource& entropy() { return entropy_; }
  const HashKey& cache_key() const { return cache_key_; }
  const std::string& instance_id() const { return instance_id_; }
  int64_t start_unix_us() const { return start_unix_us_; }
  Authorizer& authorizer() { return authorizer_; }
  // Whether and as what a request is traced.
  TraceContext ReadTrace(std::string_view traceparent) {
    return ReadTraceContext(traceparent, tracer_ ? options_.trace_sample_ratio : 0, entropy_);
  }
  SpanExporter* tracer() { return tracer_.get(); }  // null: nothing is exported
  Accounting& accounting() { return accounting_; }
  Metrics& metrics() { return metrics_; }
  EventRouter& router() { return router_; }
  StreamWatch& streams() { return streams_; }
  WorkerPool& tokenizers() { return tokenizers_; }
  spdlog::logger& logger() { return *logger_; }
  const std::shared_ptr<spdlog::logger>& shared_logger() const { return logger_; }

 private:
  const ServerOptions options_;
  const Clock& clock_;
  EntropySource& entropy_;
  const std::shared_ptr<spdlog::logger> logger_;
  const HashKey cache_key_;
  const int64_t start_unix_us_;
  std::string instance_id_;
  std::atomic<RequestId> next_id_{1};

  mutable std::mutex mutex_;
  ServerState state_ = ServerState::kLoading;      // guarded by mutex_
  std::shared_ptr<const AttachedModel> attached_;  // guarded by mutex_

  std::unique_ptr<SpanExporter> tracer_;
  Authorizer authorizer_;
  Accounting accounting_;
  Metrics metrics_;
  StreamWatch streams_;
  EventRouter router_;
  WorkerPool tokenizers_;  // last: its jobs use everything above
};

}  // namespace inferd
