#include "server/metric_compat.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace inferd {
namespace {

struct Row {
  std::string_view ours;
  std::string_view theirs;
  bool gie = false;
};

constexpr std::array<Row, 28> kRows = {{
    {"inferd_num_requests_waiting", "vllm:num_requests_waiting", true},
    {"inferd_num_requests_running", "vllm:num_requests_running", true},
    {"inferd_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc", true},
    {"inferd_cache_config_info", "vllm:cache_config_info", true},
    {"inferd_num_requests_waiting_by_reason", "vllm:num_requests_waiting_by_reason"},
    {"inferd_preemptions_total", "vllm:num_preemptions_total"},
    {"inferd_iteration_tokens", "vllm:iteration_tokens_total"},
    {"inferd_prompt_tokens_total", "vllm:prompt_tokens_total"},
    {"inferd_prompt_tokens_by_source_total", "vllm:prompt_tokens_by_source_total"},
    {"inferd_generation_tokens_total", "vllm:generation_tokens_total"},
    {"inferd_prefix_cache_query_tokens_total", "vllm:prefix_cache_queries_total"},
    {"inferd_prefix_cache_hit_tokens_total", "vllm:prefix_cache_hits_total"},
    {"inferd_request_success_total", "vllm:request_success_total"},
    {"inferd_corrupted_requests_total", "vllm:corrupted_requests_total"},
    {"inferd_request_prompt_tokens", "vllm:request_prompt_tokens"},
    {"inferd_request_generation_tokens", "vllm:request_generation_tokens"},
    {"inferd_request_max_num_generation_tokens", "vllm:request_max_num_generation_tokens"},
    {"inferd_request_params_max_tokens", "vllm:request_params_max_tokens"},
    {"inferd_request_params_n", "vllm:request_params_n"},
    {"inferd_request_prefill_kv_computed_tokens", "vllm:request_prefill_kv_computed_tokens"},
    {"inferd_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"},
    {"inferd_inter_token_latency_seconds", "vllm:inter_token_latency_seconds"},
    {"inferd_request_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds"},
    {"inferd_e2e_request_latency_seconds", "vllm:e2e_request_latency_seconds"},
    {"inferd_request_queue_time_seconds", "vllm:request_queue_time_seconds"},
    {"inferd_request_prefill_time_seconds", "vllm:request_prefill_time_seconds"},
    {"inferd_request_decode_time_seconds", "vllm:request_decode_time_seconds"},
    {"inferd_request_inference_time_seconds", "vllm:request_inference_time_seconds"},
}};

// Names of labels that differ.
std::string_view LabelOf(std::string_view ours) {
  return ours == "num_blocks" ? std::string_view("num_gpu_blocks") : ours;
}

// Of the model the metrics are about; empty before there is one.
std::string ModelName(const std::vector<prometheus::MetricFamily>& families) {
  for (const prometheus::MetricFamily& family : families) {
    if (family.name != "inferd_cache_config_info" || family.metric.empty()) continue;
    for (const auto& label : family.metric[0].label) {
      if (label.name == "model_name") return label.value;
    }
  }
  return {};
}

prometheus::MetricFamily LoraFamily(const std::string& model, double unix_seconds) {
  prometheus::MetricFamily family;
  family.name = "vllm:lora_requests_info";
  family.help = "Adapters in use, of which this server has none; the value is the time.";
  family.type = prometheus::MetricType::Gauge;
  prometheus::ClientMetric metric;
  metric.label = {{"model_name", model},
                  {"engine", "0"},
                  {"max_lora", "0"},
                  {"running_lora_adapters", ""},
                  {"waiting_lora_adapters", ""}};
  metric.gauge.value = unix_seconds;
  family.metric.push_back(std::move(metric));
  return family;
}

}  // namespace

MetricsCompat MetricsCompatOf(std::string_view text) {
  if (text == "off") return MetricsCompat::kOff;
  return text == "vllm" ? MetricsCompat::kVllm : MetricsCompat::kGie;
}

void AddCompatFamilies(MetricsCompat compat, double unix_seconds,
                       std::vector<prometheus::MetricFamily>* families) {
  if (compat == MetricsCompat::kOff) return;
  const std::string model = ModelName(*families);
  const size_t num_ours = families->size();
  for (size_t i = 0; i < num_ours; ++i) {
    const std::string& name = (*families)[i].name;
    const auto* const row =
        std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return r.ours == name; });
    if (row == kRows.end() || (compat == MetricsCompat::kGie && !row->gie)) continue;
    prometheus::MetricFamily copy = (*families)[i];
    copy.name = row->theirs;
    copy.help = "The same as " + std::string(row->ours) + ".";
    for (prometheus::ClientMetric& metric : copy.metric) {
      for (auto& label : metric.label) label.name = LabelOf(label.name);
    }
    families->push_back(std::move(copy));
  }
  if (!model.empty()) families->push_back(LoraFamily(model, unix_seconds));
}

}  // namespace inferd
