#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <atomic>
#include <iterator>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

#include "server/metric_families.h"

namespace inferd {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

Buckets Or(const std::vector<double>& configured, Buckets defaults) {
  return configured.empty() ? defaults : configured;
}

const Buckets kTtft = {.001, .005, .01, .02, .04, .06, .08, .1, .15, .25, .5,
                       .75,  1,    2.5, 5,   7.5, 10,  20,  40, 80,  160, 640};
const Buckets kItl = {.001, .002, .004, .006, .008, .01, .015, .02, .025, .03, .04,
                      .05,  .075, .1,   .15,  .2,   .3,  .5,   1,   2.5,  10};
const Buckets kE2e = {.005, .01, .025, .05, .1, .2, .3,  .5,  .8,  1,   1.5,
                      2.5,  5,   10,   20,  30, 60, 120, 240, 480, 960, 1920};
const Buckets kShort = {.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5};
const Buckets kTokens = {1,    2,    5,    10,  20,  50,  100, 200, 500,
                         1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5};
const Buckets kChoices = {1, 2, 5, 10, 20};

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
constexpr std::array<std::string_view, 5> kFinishReasons = {"stop", "length", "time_limit", "abort",
                                                            "error"};
constexpr std::array<std::string_view, 6> kRejections = {"queue_full", "queue_timeout", "draining",
                                                         "not_ready",  "too_large",     "invalid"};

// Why a request was turned away, as a label; empty when it was not.
std::string_view RejectionOf(const Status& status) {
  if (status.ok()) return {};
  const std::string_view reason =
      status.detail() != nullptr ? std::string_view(status.detail()->reason) : "";
  if (reason == "QUEUE_FULL") return "queue_full";
  if (reason == "QUEUE_TIMEOUT") return "queue_timeout";
  if (reason == "DRAINING") return "draining";
  if (reason == "NOT_READY") return "not_ready";
  if (reason == "CONTEXT_LENGTH_EXCEEDED") return "too_large";
  if (status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound) {
    return "invalid";
  }
  return {};
}

double Seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

}  // namespace

class Metrics::Impl {
 public:
  Impl(const ServerOptions& options, const Accounting& accounting, const Clock& clock);

  using Labels = prometheus::Labels;
  prometheus::Family<prometheus::Counter>& CounterFamily(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry_);
  }
  prometheus::Histogram& AddHistogram(const char* name, const char* help, const Labels& labels,
                                      const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels,
                                                                                      buckets);
  }
  void AddServerFamilies(FamilyBuilder* out) const;
  void AddModelFamilies(FamilyBuilder* out) const;  // mutex_ held

  // The histograms of the model; all there once one is attached.
  struct Model {
    prometheus::Histogram* ttft;
    prometheus::Histogram* itl;
    prometheus::Histogram* tpot;
    prometheus::Histogram* e2e;
    prometheus::Histogram* queue;
    prometheus::Histogram* prefill;
    prometheus::Histogram* decode;
    prometheus::Histogram* inference;
    prometheus::Histogram* prompt_tokens;
    prometheus::Histogram* generation_tokens;
    prometheus::Histogram* max_tokens;
    prometheus::Histogram* params_n;
    prometheus::Histogram* tokenize;
    prometheus::Histogram* chat_template;
    std::array<prometheus::Counter*, kFinishReasons.size()> success;
  };
  void MakeModel(const std::string& name);

  const ServerOptions& options_;
  const Accounting& accounting_;
  const int64_t start_unix_us_;
  prometheus::Registry registry_;
  std::array<std::array<prometheus::Counter*, kCodes.size()>, kNumRpcMethods> requests_;
  std::array<prometheus::Counter*, kRejections.size()> rejected_;
  std::atomic<int64_t> streams_{0};
  std::atomic<ServerState> state_{ServerState::kLoading};
  std::atomic<const Model*> model_{nullptr};
  Model model_storage_{};

  mutable std::mutex mutex_;
  const Engine* engine_ = nullptr;  // guarded by mutex_
  MetricLabels model_labels_;       // guarded by mutex_
  MetricLabels model_info_;         // guarded by mutex_
  MetricLabels cache_info_;         // guarded by mutex_
  double load_seconds_ = 0;         // guarded by mutex_
};

Metrics::Impl::Impl(const ServerOptions& options, const Accounting& accounting, const Clock& clock)
    : options_(options), accounting_(accounting), start_unix_us_(clock.UnixUs()) {
  auto& requests =
      CounterFamily("inferd_requests_total", "Rpcs that ended, by method and gRPC status code.");
  for (size_t m = 0; m < kNumRpcMethods; ++m) {
    const std::string method(RpcMethodName(static_cast<RpcMethod>(m)));
    for (size_t c = 0; c < kCodes.size(); ++c) {
      requests_[m][c] = &requests.Add({{"method", method}, {"code", std::string(kCodes[c])}});
    }
  }
  auto& rejected = CounterFamily("inferd_requests_rejected_total",
                                 "Rpcs refused before anything was computed, by reason.");
  for (size_t i = 0; i < kRejections.size(); ++i) {
    rejected_[i] = &rejected.Add({{"reason", std::string(kRejections[i])}});
  }
}

void Metrics::Impl::MakeModel(const std::string& name) {
  const Labels l = {{"model_name", name}, {"engine", "0"}};
  const Buckets e2e = Or(options_.e2e_buckets, kE2e);
  const Buckets itl = Or(options_.itl_buckets, kItl);
  Model& m = model_storage_;
  // clang-format off
  m.ttft = &AddHistogram("inferd_time_to_first_token_seconds", "From the request being fully received to its first token being handed to gRPC: queue, prefill and detokenizing, not the network.", l, Or(options_.ttft_buckets, kTtft));
  m.itl = &AddHistogram("inferd_inter_token_latency_seconds", "Between consecutive hand-overs of tokens of one choice to gRPC; k tokens handed over together count as k observations of a k-th of the time.", l, itl);
  m.tpot = &AddHistogram("inferd_request_time_per_output_token_seconds", "Of a finished request: from first to last hand-over, divided by the tokens per choice less one.", l, itl);
  m.e2e = &AddHistogram("inferd_e2e_request_latency_seconds", "From the request being fully received to its last message being handed to gRPC; finished requests only.", l, e2e);
  m.queue = &AddHistogram("inferd_request_queue_time_seconds", "From submission to the engine to first being scheduled.", l, e2e);
  m.prefill = &AddHistogram("inferd_request_prefill_time_seconds", "From first being scheduled to the first token's hand-over, rendering and tokenizing included.", l, e2e);
  m.decode = &AddHistogram("inferd_request_decode_time_seconds", "From the first token's hand-over to the last one's.", l, e2e);
  m.inference = &AddHistogram("inferd_request_inference_time_seconds", "Prefill and decode time together.", l, e2e);
  m.prompt_tokens = &AddHistogram("inferd_request_prompt_tokens", "Prompt tokens of a finished request.", l, kTokens);
  m.generation_tokens = &AddHistogram("inferd_request_generation_tokens", "Tokens generated for a finished request, all choices together.", l, kTokens);
  m.max_tokens = &AddHistogram("inferd_request_max_num_generation_tokens", "Tokens a finished request was allowed to generate per choice.", l, kTokens);
  m.params_n = &AddHistogram("inferd_request_params_n", "Choices asked for.", l, kChoices);
  m.tokenize = &AddHistogram("inferd_tokenize_duration_seconds", "Encoding a prompt.", l, kShort);
  m.chat_template = &AddHistogram("inferd_chat_template_duration_seconds", "Rendering a chat template.", l, kShort);
  // clang-format on
  auto& success = CounterFamily("inferd_request_success_total",
                                "Accepted requests that ended, by how: stop, length or time_limit "
                                "when they finished, abort when the client cancelled, error else.");
  for (size_t i = 0; i < kFinishReasons.size(); ++i) {
    Labels labels = l;
    labels["finished_reason"] = std::string(kFinishReasons[i]);
    m.success[i] = &success.Add(labels);
  }
  model_.store(&m, std::memory_order_release);
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
  out->Add({}, Seconds(start_unix_us_));
}

void Metrics::Impl::AddModelFamilies(FamilyBuilder* out) const {
  if (model_labels_.empty()) return;
  out->Gauge("inferd_model_info", "Always 1; the labels describe the model.");
  out->Add(model_info_, 1);
  out->Gauge("inferd_cache_config_info", "Always 1; the labels describe the KV cache.");
  out->Add(cache_info_, 1);
  out->Gauge("inferd_model_load_duration_seconds", "What loading the model took.");
  out->Add(model_labels_, load_seconds_);
}

Metrics::Metrics(const ServerOptions& options, const Accounting& accounting, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, accounting, clock)) {}
Metrics::~Metrics() = default;

void Metrics::AttachModel(const ServedModel& model, const Engine& engine) {
  impl_->MakeModel(model.id);
  std::lock_guard lock(impl_->mutex_);
  impl_->engine_ = &engine;
  impl_->model_labels_ = {{"model_name", model.id}, {"engine", "0"}};
  impl_->model_info_ = {{"model_name", model.id},
                        {"architecture", model.architecture},
                        {"dtype", model.dtype},
                        {"max_model_len", std::to_string(model.max_model_len)},
                        {"tp", "1"},
                        {"pp", "1"}};
  impl_->cache_info_ = {{"model_name", model.id},
                        {"engine", "0"},
                        {"block_size", std::to_string(model.block_size)},
                        {"num_blocks", std::to_string(model.num_blocks)}};
  impl_->load_seconds_ = model.load_seconds;
}

void Metrics::DetachEngine() {
  std::lock_guard lock(impl_->mutex_);
  impl_->engine_ = nullptr;
}

void Metrics::SetState(ServerState state) { impl_->state_.store(state); }

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
  const Impl::Model* m = impl_->model_.load(std::memory_order_acquire);
  if (m == nullptr) return;
  for (size_t i = 0; i < kFinishReasons.size(); ++i) {
    if (kFinishReasons[i] == request.finish_reason) m->success[i]->Increment();
  }
  const CallSummary& summary = request.summary;
  m->params_n->Observe(request.num_choices);
  if (summary.queue_us >= 0) m->queue->Observe(Seconds(summary.queue_us));
  if (request.outcome != CallOutcome::kFinished) return;
  m->e2e->Observe(Seconds(request.e2e_us));
  m->prompt_tokens->Observe(summary.usage.prompt_tokens);
  m->generation_tokens->Observe(summary.usage.completion_tokens);
  m->max_tokens->Observe(request.max_new_tokens);
  if (summary.ttft_us < 0) return;
  const int64_t prefill_us = summary.ttft_us - summary.queue_us;
  m->prefill->Observe(Seconds(prefill_us));
  const int64_t decode_us = request.decode_us < 0 ? 0 : request.decode_us;
  m->decode->Observe(Seconds(decode_us));
  m->inference->Observe(Seconds(prefill_us + decode_us));
  const double per_choice =
      static_cast<double>(summary.usage.completion_tokens) / request.num_choices;
  if (request.decode_us >= 0 && per_choice > 1) {
    m->tpot->Observe(Seconds(decode_us) / (per_choice - 1));
  }
}

void Metrics::ObserveFirstToken(int64_t ttft_us) {
  if (const Impl::Model* m = impl_->model_.load()) m->ttft->Observe(Seconds(ttft_us));
}

void Metrics::ObserveTokens(int64_t elapsed_us, int32_t num_tokens) {
  const Impl::Model* m = impl_->model_.load();
  if (m == nullptr || num_tokens < 1) return;
  const double each = Seconds(elapsed_us) / num_tokens;
  for (int32_t i = 0; i < num_tokens; ++i) m->itl->Observe(each);
}

void Metrics::ObserveTemplate(int64_t us) {
  if (const Impl::Model* m = impl_->model_.load()) m->chat_template->Observe(Seconds(us));
}
void Metrics::ObserveTokenize(int64_t us) {
  if (const Impl::Model* m = impl_->model_.load()) m->tokenize->Observe(Seconds(us));
}
void Metrics::StreamOpened() { impl_->streams_.fetch_add(1); }
void Metrics::StreamClosed() { impl_->streams_.fetch_sub(1); }

std::string Metrics::Render() const {
  FamilyBuilder builder;
  impl_->AddServerFamilies(&builder);
  AddProcessFamilies(impl_->start_unix_us_, &builder);
  {
    std::lock_guard lock(impl_->mutex_);
    impl_->AddModelFamilies(&builder);
    if (impl_->engine_ != nullptr) {
      AddEngineFamilies(impl_->engine_->Stats(), impl_->model_labels_, &builder);
    }
  }
  std::vector<prometheus::MetricFamily> families = impl_->registry_.Collect();
  std::vector<prometheus::MetricFamily> more = builder.Take();
  families.insert(families.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

}  // namespace inferd
