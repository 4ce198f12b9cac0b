#include "server/metric_families.h"

namespace inferd {

using prometheus::ClientMetric;
using prometheus::MetricType;

void FamilyBuilder::Start(std::string name, std::string help, MetricType type) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  families_.push_back(std::move(family));
}

void FamilyBuilder::Gauge(std::string name, std::string help) {
  Start(std::move(name), std::move(help), MetricType::Gauge);
}
void FamilyBuilder::Counter(std::string name, std::string help) {
  Start(std::move(name), std::move(help), MetricType::Counter);
}
void FamilyBuilder::Histogram(std::string name, std::string help) {
  Start(std::move(name), std::move(help), MetricType::Histogram);
}

namespace {

ClientMetric WithLabels(const MetricLabels& labels) {
  ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

MetricLabels With(MetricLabels labels, std::string name, std::string value) {
  labels.emplace_back(std::move(name), std::move(value));
  return labels;
}

}  // namespace

void FamilyBuilder::Add(const MetricLabels& labels, double value) {
  ClientMetric metric = WithLabels(labels);
  prometheus::MetricFamily& family = families_.back();
  metric.gauge.value = value;
  metric.counter.value = value;
  family.metric.push_back(std::move(metric));
}

void FamilyBuilder::Add(const MetricLabels& labels, const inferd::Histogram& histogram) {
  ClientMetric metric = WithLabels(labels);
  uint64_t cumulative = 0;
  const auto counts = histogram.counts();
  for (size_t i = 0; i < histogram.bounds().size(); ++i) {
    cumulative += counts[i];
    ClientMetric::Bucket bucket;
    bucket.cumulative_count = cumulative;
    bucket.upper_bound = histogram.bounds()[i];
    metric.histogram.bucket.push_back(bucket);
  }
  metric.histogram.sample_count = histogram.count();
  metric.histogram.sample_sum = histogram.sum();
  families_.back().metric.push_back(std::move(metric));
}

namespace {

void AddPipelineFamilies(const EngineStats& s, const MetricLabels& labels, FamilyBuilder* out) {
  const auto stage = [&labels](int32_t i) { return With(labels, "stage", std::to_string(i)); };
  const auto seconds = [](uint64_t us) { return static_cast<double>(us) * 1e-6; };
  out->Counter("inferd_pipeline_seconds_total", "Time with steps in flight.");
  out->Add(labels, seconds(s.pipeline_us));
  out->Counter("inferd_pipeline_stage_seconds_total", "What of it each stage computed.");
  for (int32_t i = 0; i < s.pipeline_stages; ++i) out->Add(stage(i), seconds(s.stage_us[i]));
  out->Gauge("inferd_pipeline_bubble_ratio",
             "Part of the time with steps in flight that a stage waited, since the start.");
  for (int32_t i = 0; i < s.pipeline_stages; ++i) {
    const double busy = seconds(s.stage_us[i]) / std::max(seconds(s.pipeline_us), 1e-6);
    out->Add(stage(i), std::max(0.0, 1.0 - busy));
  }
}

}  // namespace

void AddEngineFamilies(const EngineStats& s, const MetricLabels& labels, FamilyBuilder* out) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  out->Gauge("inferd_num_requests_running", "Sequences that the ranks compute.");
  out->Add(labels, number(s.running));
  out->Gauge("inferd_num_requests_waiting", "Sequences that wait to be scheduled.");
  out->Add(labels, number(s.waiting));
  out->Gauge("inferd_num_requests_waiting_by_reason",
             "Waiting sequences by what they wait for: capacity (a slot or KV blocks), or deferred "
             "until another choice of their request has computed the prompt they share.");
  out->Add(With(labels, "reason", "capacity"), number(s.waiting - s.waiting_deferred));
  out->Add(With(labels, "reason", "deferred"), number(s.waiting_deferred));
  out->Gauge("inferd_waiting_prompt_tokens", "Prompt tokens of the waiting sequences.");
  out->Add(labels, number(s.waiting_prompt_tokens));
  out->Gauge("inferd_kv_cache_usage_ratio",
             "Part of the KV blocks that sequences reference, 0 to 1.");
  out->Add(labels, s.blocks_total > 0 ? number(s.blocks_used) / number(s.blocks_total) : 0.0);
  out->Gauge("inferd_kv_cache_blocks",
             "KV blocks by state: used by a sequence, cached (free, but holding a reusable "
             "prefix), or free without contents.");
  out->Add(With(labels, "state", "used"), number(s.blocks_used));
  out->Add(With(labels, "state", "cached"), number(s.blocks_cached));
  out->Add(With(labels, "state", "free"), number(s.blocks_total - s.blocks_used - s.blocks_cached));
  out->Gauge("inferd_engine_state", "1 for the state the engine is in, 0 for the others.");
  out->Add(With(labels, "state", "running"), s.state == EngineState::kRunning ? 1 : 0);
  out->Add(With(labels, "state", "recovering"), s.state == EngineState::kRecovering ? 1 : 0);
  out->Add(With(labels, "state", "dead"), s.state == EngineState::kDead ? 1 : 0);
  out->Counter("inferd_rank_losses_total", "Times the ranks were lost and started again.");
  out->Add(labels, number(s.rank_losses));
  out->Counter("inferd_sequences_resumed_total", "Sequences that went on after such a loss.");
  out->Add(labels, number(s.sequences_resumed));
  out->Histogram("inferd_recovery_seconds", "From a loss of the ranks until they take work again.");
  out->Add(labels, s.recovery_seconds);
  if (s.pipeline_stages > 0) AddPipelineFamilies(s, labels, out);
  out->Counter("inferd_preemptions_total", "Sequences put back into the queue for lack of blocks.");
  out->Add(labels, number(s.preemptions));
  out->Counter("inferd_engine_steps_total",
               "Steps by kind: only prompt tokens, only generated tokens, or both.");
  out->Add(With(labels, "kind", "prefill"), number(s.steps_prefill));
  out->Add(With(labels, "kind", "decode"), number(s.steps_decode));
  out->Add(With(labels, "kind", "mixed"), number(s.steps_mixed));
  out->Histogram("inferd_iteration_tokens", "Tokens computed in a step.");
  out->Add(labels, s.iteration_tokens);
  out->Histogram("inferd_engine_step_duration_seconds",
                 "Time of a step, from handing over the plan to its result.");
  out->Add(With(labels, "kind", "prefill"), s.step_seconds_prefill);
  out->Add(With(labels, "kind", "decode"), s.step_seconds_decode);
  out->Add(With(labels, "kind", "mixed"), s.step_seconds_mixed);

  out->Counter("inferd_prompt_tokens_total", "Prompt tokens of admitted sequences.");
  out->Add(labels, number(s.prompt_tokens));
  out->Counter("inferd_prompt_tokens_by_source_total",
               "Prompt tokens of admitted sequences, computed or taken from the prefix cache.");
  out->Add(With(labels, "source", "local_compute"),
           number(s.prompt_tokens - s.prompt_tokens_cached));
  out->Add(With(labels, "source", "local_cache_hit"), number(s.prompt_tokens_cached));
  out->Counter("inferd_generation_tokens_total", "Tokens generated.");
  out->Add(labels, number(s.generation_tokens));
  out->Counter("inferd_prefix_cache_query_tokens_total", "Tokens looked up in the prefix cache.");
  out->Add(labels, number(s.prefix_query_tokens));
  out->Counter("inferd_prefix_cache_hit_tokens_total", "Tokens found in the prefix cache.");
  out->Add(labels, number(s.prefix_hit_tokens));
  out->Counter("inferd_corrupted_requests_total", "Choices ended by logits that were not finite.");
  out->Add(labels, number(s.corrupted));
}

}  // namespace inferd
