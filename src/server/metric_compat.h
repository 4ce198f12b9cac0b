// Metrics under vLLM's names, which gateways and dashboards know.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace inferd {

enum class MetricsCompat : uint8_t { kOff, kGie, kVllm };

// What metrics.compat says; kGie for anything else.
MetricsCompat MetricsCompatOf(std::string_view text);

// Appends copies of `families` under their other names: kGie, those that endpoint
// pickers of inference gateways read; kVllm, all that have an equivalent. There are no
// adapters, so vllm:lora_requests_info has empty lists; its value is the time.
void AddCompatFamilies(MetricsCompat compat, double unix_seconds,
                       std::vector<prometheus::MetricFamily>* families);

}  // namespace inferd
