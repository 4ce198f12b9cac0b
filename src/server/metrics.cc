#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iterator>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

#include "server/generation_metrics.h"
#include "server/grpc_call_metrics.h"
#include "server/metric_compat.h"
#include "server/metric_families.h"

namespace inferd {
namespace {

constexpr std::array<std::string_view, 14> kCodes = {"OK",
                                                     "CANCELLED",
                                                     "INVALID_ARGUMENT",
                                                     "DEADLINE_EXCEEDED",
                                                     "NOT_FOUND",
                                                     "ABORTED",
                                                     "PERMISSION_DENIED",
                                                     "UNAUTHENTICATED",
                                                     "RESOURCE_EXHAUSTED",
                                                     "UNIMPLEMENTED",
                                                     "FAILED_PRECONDITION",
                                                     "INTERNAL",
                                                     "UNAVAILABLE",
                                                     "UNKNOWN"};
constexpr std::array<std::string_view, 10> kRejections = {
    "queue_full", "queue_timeout", "deadline",        "draining",          "not_ready",
    "too_large",  "rate_limited",  "unauthenticated", "permission_denied", "invalid"};

// A deadline that passed during the work is no refusal; one that the queue would
// have outlasted comes with the estimate.
bool RefusedForDeadline(const Status& status) {
  if (status.detail()->reason != "DEADLINE") return false;
  for (const auto& [name, value] : status.detail()->metadata) {
    if (name == "estimated_wait_ms") return true;
  }
  return false;
}

// Why a request was turned away, as a label; empty when it was not.
std::string_view RejectionOf(const Status& status) {
  if (status.ok()) return {};
  const std::string_view reason =
      status.detail() != nullptr ? std::string_view(status.detail()->reason) : "";
  if (reason == "QUEUE_FULL") return "queue_full";
  if (reason == "QUEUE_TIMEOUT") return "queue_timeout";
  if (reason == "DEADLINE") return RefusedForDeadline(status) ? "deadline" : "";
  if (reason == "DRAINING") return "draining";
  if (reason == "NOT_READY" || reason == "RANKS_RESTARTING") return "not_ready";
  if (reason == "CONTEXT_LENGTH_EXCEEDED") return "too_large";
  if (reason == "RATE_LIMITED") return "rate_limited";
  if (status.code() == StatusCode::kUnauthenticated) return "unauthenticated";
  if (status.code() == StatusCode::kPermissionDenied) return "permission_denied";
  if (status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound) {
    return "invalid";
  }
  return {};
}

}  // namespace

class Metrics::Impl {
 public:
  Impl(const ServerOptions& options, const Accounting& accounting, const Clock& clock);

  using Labels = prometheus::Labels;
  prometheus::Family<prometheus::Counter>& CounterFamily(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry_);
  }
  void AddServerFamilies(FamilyBuilder* out) const;
  void AddModelFamilies(FamilyBuilder* out) const;  // mutex_ held
  // Without the mutex: a driver may take its time.
  std::vector<DeviceReading> ReadDevices() const {
    std::function<std::vector<DeviceReading>()> read;
    {
      std::lock_guard lock(mutex_);
      read = read_devices_;
    }
    return read ? read() : std::vector<DeviceReading>();
  }
  // Null before there is a model.
  const GenerationMetrics* generation() const {
    return generation_.load(std::memory_order_acquire);
  }

  const ServerOptions& options_;
  const Accounting& accounting_;
  const Clock& clock_;
  const int64_t start_unix_us_;
  prometheus::Registry registry_;
  GrpcCallMetrics grpc_calls_{registry_};
  std::array<std::array<prometheus::Counter*, kCodes.size()>, kNumRpcMethods> requests_;
  std::array<prometheus::Counter*, kRejections.size()> rejected_;
  const SpanExporter* tracer_ = nullptr;
  std::atomic<int64_t> streams_{0};
  std::atomic<int64_t> http_streams_{0};
  std::atomic<ServerState> state_{ServerState::kLoading};
  std::atomic<bool> reload_successful_{true};  // the configuration the process began with
  std::atomic<int64_t> reload_unix_us_;
  std::unique_ptr<const GenerationMetrics> generation_storage_;  // set by AttachModel
  std::atomic<const GenerationMetrics*> generation_{nullptr};

  mutable std::mutex mutex_;
  const Engine* engine_ = nullptr;                            // guarded by mutex_
  std::function<ListenerStats()> listener_stats_;             // guarded by mutex_
  MetricLabels model_labels_;                                 // guarded by mutex_
  MetricLabels model_info_;                                   // guarded by mutex_
  MetricLabels cache_info_;                                   // guarded by mutex_
  double load_seconds_ = 0;                                   // guarded by mutex_
  int32_t max_running_ = 0;                                   // guarded by mutex_
  std::vector<ServedDevice> devices_;                         // guarded by mutex_
  std::function<std::vector<DeviceReading>()> read_devices_;  // guarded by mutex_
};

Metrics::Impl::Impl(const ServerOptions& options, const Accounting& accounting, const Clock& clock)
    : options_(options),
      accounting_(accounting),
      clock_(clock),
      start_unix_us_(clock.UnixUs()),
      reload_unix_us_(start_unix_us_) {
  auto& requests = CounterFamily("inferd_requests_total",
                                 "Calls that ended, by rpc or HTTP route and gRPC status code.");
  for (size_t m = 0; m < kNumRpcMethods; ++m) {
    const std::string method(RpcMethodName(static_cast<RpcMethod>(m)));
    for (size_t c = 0; c < kCodes.size(); ++c) {
      requests_[m][c] = &requests.Add({{"method", method}, {"code", std::string(kCodes[c])}});
    }
  }
  auto& rejected = CounterFamily("inferd_requests_rejected_total",
                                 "Calls refused before anything was computed, by reason.");
  for (size_t i = 0; i < kRejections.size(); ++i) {
    rejected_[i] = &rejected.Add({{"reason", std::string(kRejections[i])}});
  }
}

void Metrics::Impl::AddServerFamilies(FamilyBuilder* out) const {
  const RequestCounts counts = accounting_.Snapshot();
  out->Counter("inferd_requests_accepted_total",
               "Generation requests that passed validation. At every instant the sum of "
               "inferd_requests_ended_total and inferd_requests_live.");
  out->Add({}, static_cast<double>(counts.accepted));
  out->Counter("inferd_requests_ended_total", "Accepted generation requests that ended, by how.");
  out->Add({{"outcome", "finished"}}, static_cast<double>(counts.finished));
  out->Add({{"outcome", "failed"}}, static_cast<double>(counts.failed));
  out->Add({{"outcome", "cancelled"}}, static_cast<double>(counts.cancelled));
  out->Gauge("inferd_requests_live", "Accepted generation requests that have not ended.");
  out->Add({}, static_cast<double>(counts.live));
  out->Gauge("inferd_grpc_streams_active", "Open streaming generation rpcs.");
  out->Add({}, static_cast<double>(streams_.load()));
  out->Gauge("inferd_http_streams_active", "Open streams of server-sent events.");
  out->Add({}, static_cast<double>(http_streams_.load()));
  out->Gauge("inferd_build_info", "Always 1; the labels describe the build.");
  out->Add({{"version", options_.version},
            {"git_commit", options_.git_commit},
            {"compiler", __VERSION__}},
           1);
  out->Gauge("inferd_server_state", "1 for the state the server is in, 0 for the others.");
  constexpr std::array<const char*, 4> kStates = {"loading", "ready", "draining", "failed"};
  for (size_t i = 0; i < kStates.size(); ++i) {
    out->Add({{"state", kStates[i]}}, static_cast<size_t>(state_.load()) == i ? 1 : 0);
  }
  out->Gauge("inferd_start_time_seconds", "When the server started, since the Unix epoch.");
  out->Add({}, static_cast<double>(start_unix_us_) / 1e6);
  out->Gauge("inferd_config_last_reload_successful",
             "1 if the configuration was good when it was last read, at the start or on SIGHUP.");
  out->Add({}, reload_successful_.load() ? 1 : 0);
  out->Gauge("inferd_config_last_reload_success_timestamp_seconds",
             "When a good configuration was last read, since the Unix epoch.");
  out->Add({}, static_cast<double>(reload_unix_us_.load()) / 1e6);
  const SpanCounts spans = tracer_ != nullptr ? tracer_->counts() : SpanCounts{};
  out->Counter("inferd_trace_spans_total",
               "Spans by what became of them: exported to the collector, dropped because too many "
               "waited, or failed because the collector could not be had or refused them.");
  out->Add({{"outcome", "exported"}}, static_cast<double>(spans.exported));
  out->Add({{"outcome", "dropped"}}, static_cast<double>(spans.dropped));
  out->Add({{"outcome", "failed"}}, static_cast<double>(spans.failed));
  if (options_.tls != nullptr) {
    out->Gauge("inferd_tls_certificate_not_after_timestamp_seconds",
               "When the first certificate of the chain in use ends, since the Unix epoch.");
    out->Add({}, static_cast<double>(options_.tls->not_after_unix_s()));
  }
}

void Metrics::Impl::AddModelFamilies(FamilyBuilder* out) const {
  if (model_labels_.empty()) return;
  out->Gauge("inferd_model_info", "Always 1; the labels describe the model.");
  out->Add(model_info_, 1);
  out->Gauge("inferd_cache_config_info", "Always 1; the labels describe the KV cache.");
  out->Add(cache_info_, 1);
  out->Gauge("inferd_model_load_duration_seconds", "What loading the model took.");
  out->Add(model_labels_, load_seconds_);
  out->Gauge("inferd_max_num_requests_running",
             "Sequences that may be computed together: engine.max_running.");
  out->Add(model_labels_, max_running_);
}

Metrics::Metrics(const ServerOptions& options, const Accounting& accounting, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, accounting, clock)) {}
Metrics::~Metrics() = default;

void Metrics::AttachModel(const ServedModel& model, const Engine& engine) {
  impl_->generation_storage_ =
      std::make_unique<const GenerationMetrics>(impl_->options_, model.id, &impl_->registry_);
  impl_->generation_.store(impl_->generation_storage_.get(), std::memory_order_release);
  std::lock_guard lock(impl_->mutex_);
  impl_->engine_ = &engine;
  impl_->model_labels_ = {{"model_name", model.id}, {"engine", "0"}};
  impl_->model_info_ = {{"model_name", model.id},
                        {"architecture", model.architecture},
                        {"dtype", model.dtype},
                        {"quantization", model.quantization},
                        {"max_model_len", std::to_string(model.max_model_len)},
                        {"tp", "1"},
                        {"pp", "1"}};
  impl_->cache_info_ = {{"model_name", model.id},
                        {"engine", "0"},
                        {"block_size", std::to_string(model.block_size)},
                        {"num_blocks", std::to_string(model.num_blocks)},
                        {"cache_dtype", model.cache_dtype},
                        {"enable_prefix_caching", model.prefix_caching ? "true" : "false"}};
  impl_->load_seconds_ = model.load_seconds;
  impl_->max_running_ = model.max_running;
  impl_->devices_ = model.devices;
  impl_->read_devices_ = model.read_devices;
}

void Metrics::DetachEngine() {
  std::lock_guard lock(impl_->mutex_);
  impl_->engine_ = nullptr;
}

GrpcCallMetrics& Metrics::grpc_calls() { return impl_->grpc_calls_; }

void Metrics::SetTracer(const SpanExporter* tracer) { impl_->tracer_ = tracer; }

void Metrics::SetListenerStats(std::function<ListenerStats()> stats) {
  std::lock_guard lock(impl_->mutex_);
  impl_->listener_stats_ = std::move(stats);
}

void Metrics::SetState(ServerState state) { impl_->state_.store(state); }

void Metrics::ConfigReloaded(bool successful) {
  impl_->reload_successful_.store(successful);
  if (successful) impl_->reload_unix_us_.store(impl_->clock_.UnixUs());
}

void Metrics::RpcEnded(RpcMethod method, const Status& status) {
  const std::string_view code = StatusCodeName(status.code());
  for (size_t c = 0; c < kCodes.size(); ++c) {
    if (kCodes[c] == code) impl_->requests_[static_cast<size_t>(method)][c]->Increment();
  }
  const std::string_view rejection = RejectionOf(status);
  for (size_t i = 0; i < kRejections.size(); ++i) {
    if (kRejections[i] == rejection) impl_->rejected_[i]->Increment();
  }
}

void Metrics::RequestEnded(const EndedRequest& request) {
  if (const auto* m = impl_->generation()) m->RequestEnded(request);
}
void Metrics::ObserveFirstToken(int64_t ttft_us) {
  if (const auto* m = impl_->generation()) m->ObserveFirstToken(ttft_us);
}
void Metrics::ObserveTokens(int64_t elapsed_us, int32_t num_tokens) {
  if (const auto* m = impl_->generation()) m->ObserveTokens(elapsed_us, num_tokens);
}
void Metrics::ObserveTemplate(int64_t us) {
  if (const auto* m = impl_->generation()) m->ObserveTemplate(us);
}
void Metrics::ObserveTokenize(int64_t us) {
  if (const auto* m = impl_->generation()) m->ObserveTokenize(us);
}
void Metrics::ObserveWriteBacklog(int32_t num_tokens) {
  if (const auto* m = impl_->generation()) m->ObserveWriteBacklog(num_tokens);
}
void Metrics::StreamOpened() { impl_->streams_.fetch_add(1); }
void Metrics::StreamClosed() { impl_->streams_.fetch_sub(1); }
void Metrics::HttpStreamOpened() { impl_->http_streams_.fetch_add(1); }
void Metrics::HttpStreamClosed() { impl_->http_streams_.fetch_sub(1); }

std::string Metrics::Render(const std::vector<std::string>& names) const {
  FamilyBuilder builder;
  impl_->AddServerFamilies(&builder);
  AddProcessFamilies(impl_->start_unix_us_, &builder);
  const std::vector<DeviceReading> readings = impl_->ReadDevices();
  {
    std::lock_guard lock(impl_->mutex_);
    AddDeviceFamilies(impl_->devices_, readings, &builder);
    AddListenerFamilies(impl_->listener_stats_ ? impl_->listener_stats_() : ListenerStats{},
                        &builder);
    impl_->AddModelFamilies(&builder);
    if (impl_->engine_ != nullptr) {
      const EngineStats stats = impl_->engine_->Stats();
      AddEngineFamilies(stats, impl_->model_labels_, &builder);
      if (!impl_->devices_.empty()) {
        AddDeviceStepFamilies(stats, impl_->model_labels_, &builder);
      }
    }
  }
  std::vector<prometheus::MetricFamily> families = impl_->registry_.Collect();
  std::vector<prometheus::MetricFamily> more = builder.Take();
  families.insert(families.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  AddCompatFamilies(MetricsCompatOf(impl_->options_.metrics_compat),
                    static_cast<double>(impl_->clock_.UnixUs()) / 1e6, &families);
  if (!names.empty()) {
    const auto unwanted = [&](const prometheus::MetricFamily& family) {
      return std::find(names.begin(), names.end(), family.name) == names.end();
    };
    families.erase(std::remove_if(families.begin(), families.end(), unwanted), families.end());
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

}  // namespace inferd
