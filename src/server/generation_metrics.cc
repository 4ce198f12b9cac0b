#include "server/generation_metrics.h"

#include <vector>

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
const Buckets kBacklog = {0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4};
const Buckets kChoices = {1, 2, 5, 10, 20};

double Seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

}  // namespace

GenerationMetrics::GenerationMetrics(const ServerOptions& options, const std::string& model_name,
                                     prometheus::Registry* registry) {
  const prometheus::Labels model = {{"model_name", model_name}, {"engine", "0"}};
  const auto add = [&](const char* name, const char* help, const Buckets& bounds) {
    return &prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add(model,
                                                                                       bounds);
  };
  const Buckets e2e = Or(options.e2e_buckets, kE2e);
  const Buckets itl = Or(options.itl_buckets, kItl);
  // clang-format off
  ttft_ = add("inferd_time_to_first_token_seconds", "From the request being fully received to its first token being handed to gRPC: queue, prefill and detokenizing, not the network.", Or(options.ttft_buckets, kTtft));
  itl_ = add("inferd_inter_token_latency_seconds", "Between consecutive hand-overs of tokens of one choice to gRPC; k tokens handed over together count as k observations of a k-th of the time.", itl);
  tpot_ = add("inferd_request_time_per_output_token_seconds", "Of a finished request: from first to last hand-over, divided by the tokens per choice less one.", itl);
  e2e_ = add("inferd_e2e_request_latency_seconds", "From the request being fully received to its last message being handed to gRPC; finished requests only.", e2e);
  queue_ = add("inferd_request_queue_time_seconds", "From submission to the engine to first being scheduled.", e2e);
  prefill_ = add("inferd_request_prefill_time_seconds", "From first being scheduled to the first token's hand-over, rendering and tokenizing included.", e2e);
  decode_ = add("inferd_request_decode_time_seconds", "From the first token's hand-over to the last one's.", e2e);
  inference_ = add("inferd_request_inference_time_seconds", "Prefill and decode time together.", e2e);
  prompt_tokens_ = add("inferd_request_prompt_tokens", "Prompt tokens of a finished request.", kTokens);
  generation_tokens_ = add("inferd_request_generation_tokens", "Tokens generated for a finished request, all choices together.", kTokens);
  max_tokens_ = add("inferd_request_max_num_generation_tokens", "Tokens a finished request was allowed to generate per choice.", kTokens);
  computed_tokens_ = add("inferd_request_prefill_kv_computed_tokens", "Prompt tokens of a finished request that were not found in the prefix cache.", kTokens);
  params_max_tokens_ = add("inferd_request_params_max_tokens", "Tokens a request asked for per choice, where it set a limit.", kTokens);
  params_n_ = add("inferd_request_params_n", "Choices asked for.", kChoices);
  tokenize_ = add("inferd_tokenize_duration_seconds", "Encoding a prompt.", kShort);
  chat_template_ = add("inferd_chat_template_duration_seconds", "Rendering a chat template.", kShort);
  write_backlog_ = add("inferd_stream_write_backlog_tokens", "Tokens that still waited for a stream's client when more were handed over; 0 when the client keeps up.", kBacklog);
  // clang-format on
  auto& success = prometheus::BuildCounter()
                      .Name("inferd_request_success_total")
                      .Help(
                          "Accepted requests that ended, by how: stop, length or time_limit "
                          "when they finished, abort when the client cancelled, error else.")
                      .Register(*registry);
  for (size_t i = 0; i < kFinishReasons.size(); ++i) {
    prometheus::Labels labels = model;
    labels["finished_reason"] = std::string(kFinishReasons[i]);
    success_[i] = &success.Add(labels);
  }
}

void GenerationMetrics::RequestEnded(const EndedRequest& request) const {
  for (size_t i = 0; i < kFinishReasons.size(); ++i) {
    if (kFinishReasons[i] == request.finish_reason) success_[i]->Increment();
  }
  const CallSummary& summary = request.summary;
  params_n_->Observe(request.num_choices);
  if (request.asked_tokens > 0) params_max_tokens_->Observe(request.asked_tokens);
  if (summary.queue_us >= 0) queue_->Observe(Seconds(summary.queue_us));
  if (request.outcome != CallOutcome::kFinished) return;
  e2e_->Observe(Seconds(request.e2e_us));
  prompt_tokens_->Observe(summary.usage.prompt_tokens);
  computed_tokens_->Observe(summary.usage.prompt_tokens - summary.usage.cached_tokens);
  generation_tokens_->Observe(summary.usage.completion_tokens);
  max_tokens_->Observe(request.max_new_tokens);
  if (summary.ttft_us < 0) return;
  const int64_t prefill_us = summary.ttft_us - summary.queue_us;
  prefill_->Observe(Seconds(prefill_us));
  const int64_t decode_us = request.decode_us < 0 ? 0 : request.decode_us;
  decode_->Observe(Seconds(decode_us));
  inference_->Observe(Seconds(prefill_us + decode_us));
  const double per_choice =
      static_cast<double>(summary.usage.completion_tokens) / request.num_choices;
  if (request.decode_us >= 0 && per_choice > 1) {
    tpot_->Observe(Seconds(decode_us) / (per_choice - 1));
  }
}

void GenerationMetrics::ObserveFirstToken(int64_t ttft_us) const {
  ttft_->Observe(Seconds(ttft_us));
}

void GenerationMetrics::ObserveTokens(int64_t elapsed_us, int32_t num_tokens) const {
  if (num_tokens < 1) return;
  const double each = Seconds(elapsed_us) / num_tokens;
  for (int32_t i = 0; i < num_tokens; ++i) itl_->Observe(each);
}

void GenerationMetrics::ObserveTemplate(int64_t us) const { chat_template_->Observe(Seconds(us)); }
void GenerationMetrics::ObserveTokenize(int64_t us) const { tokenize_->Observe(Seconds(us)); }
void GenerationMetrics::ObserveWriteBacklog(int32_t num_tokens) const {
  write_backlog_->Observe(num_tokens);
}

}  // namespace inferd
