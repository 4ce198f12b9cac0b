#include "serve_load/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "inferd/base/status.h"
#include "nlohmann/json.hpp"

namespace inferd::bench {
namespace {

// The smallest value that at least `q` of the values do not exceed.
double At(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

Quantiles QuantilesOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {At(values, 0.5), At(values, 0.9), At(values, 0.99), At(values, 1.0)};
}

nlohmann::ordered_json ToJson(const Quantiles& q) {
  return {{"p50", q.p50}, {"p90", q.p90}, {"p99", q.p99}, {"max", q.max}};
}

std::string Line(const char* name, const Quantiles& q) {
  std::array<char, 160> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%-22s %10.2f %10.2f %10.2f %10.2f\n", name, q.p50,
                q.p90, q.p99, q.max);
  return buffer.data();
}

std::string Line(const char* name, double value, const char* unit) {
  std::array<char, 160> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%-22s %10.2f %s\n", name, value, unit);
  return buffer.data();
}

}  // namespace

Summary Summarise(const LoadOptions& options, const RunRecord& run) {
  Summary summary;
  summary.seconds = run.seconds;
  std::vector<double> ttft;
  std::vector<double> itl;
  std::vector<double> tpot;
  std::vector<double> e2e;
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t good = 0;
  for (const RequestRecord& r : run.requests) {
    output_tokens += r.output_tokens;
    if (r.code != 0) {
      ++summary.errors[std::string(StatusCodeName(static_cast<StatusCode>(r.code)))];
      continue;
    }
    ++summary.answered;
    input_tokens += r.prompt_tokens;
    cached_tokens += r.cached_tokens;
    ttft.push_back(r.ttft() * 1e3);
    if (!r.gaps.empty()) tpot.push_back(r.MeanGap() * 1e3);
    e2e.push_back(r.e2e() * 1e3);
    for (float gap : r.gaps) itl.push_back(static_cast<double>(gap) * 1e3);
    if (r.ttft() * 1e3 <= options.slo_ttft_ms && r.MeanGap() * 1e3 <= options.slo_itl_ms) ++good;
  }
  const double seconds = std::max(run.seconds, 1e-9);
  summary.requests_per_second = static_cast<double>(summary.answered) / seconds;
  summary.input_tokens_per_second = static_cast<double>(input_tokens) / seconds;
  summary.output_tokens_per_second = static_cast<double>(output_tokens) / seconds;
  summary.cached_share =
      static_cast<double>(cached_tokens) / static_cast<double>(std::max<int64_t>(input_tokens, 1));
  summary.goodput = static_cast<double>(good) / seconds;
  summary.good_share =
      static_cast<double>(good) / static_cast<double>(std::max<size_t>(run.requests.size(), 1));
  summary.ttft_ms = QuantilesOf(std::move(ttft));
  summary.itl_ms = QuantilesOf(std::move(itl));
  summary.tpot_ms = QuantilesOf(std::move(tpot));
  summary.e2e_ms = QuantilesOf(std::move(e2e));
  return summary;
}

std::string FormatTable(const LoadOptions& options, const Summary& s) {
  std::array<char, 256> head{};
  std::snprintf(head.data(), head.size(), "%s %g, %lld answered of %d, %.2f s\n",
                options.rate > 0 ? "open loop, requests/s" : "closed loop, in flight",
                options.rate > 0 ? options.rate : static_cast<double>(options.concurrency),
                static_cast<long long>(s.answered), options.requests, s.seconds);
  std::string text = head.data();
  text += "                              p50        p90        p99        max\n";
  text += Line("TTFT (ms)", s.ttft_ms);
  text += Line("ITL (ms)", s.itl_ms);
  text += Line("TPOT (ms)", s.tpot_ms);
  text += Line("E2E (ms)", s.e2e_ms);
  text += Line("throughput", s.requests_per_second, "requests/s");
  text += Line("output", s.output_tokens_per_second, "tokens/s");
  text += Line("input", s.input_tokens_per_second, "tokens/s");
  text += Line("goodput", s.goodput, "requests/s within the objectives");
  for (const auto& [code, count] : s.errors) {
    text += "errors " + code + ": " + std::to_string(count) + "\n";
  }
  return text;
}

std::string FormatJson(const LoadOptions& options, const Summary& s) {
  const auto range = [](const Range& r) { return nlohmann::ordered_json{r.low, r.high}; };
  nlohmann::ordered_json json = {{"rate", options.rate},
                                 {"concurrency", options.concurrency},
                                 {"requests", options.requests},
                                 {"prompt_tokens", range(options.prompt_tokens)},
                                 {"output_tokens", range(options.output_tokens)},
                                 {"shared_prefix_tokens", options.shared_prefix_tokens},
                                 {"seed", options.seed},
                                 {"slo_ttft_ms", options.slo_ttft_ms},
                                 {"slo_itl_ms", options.slo_itl_ms},
                                 {"seconds", s.seconds},
                                 {"answered", s.answered},
                                 {"errors", s.errors},
                                 {"requests_per_second", s.requests_per_second},
                                 {"input_tokens_per_second", s.input_tokens_per_second},
                                 {"output_tokens_per_second", s.output_tokens_per_second},
                                 {"cached_share", s.cached_share},
                                 {"goodput", s.goodput},
                                 {"good_share", s.good_share},
                                 {"ttft_ms", ToJson(s.ttft_ms)},
                                 {"itl_ms", ToJson(s.itl_ms)},
                                 {"tpot_ms", ToJson(s.tpot_ms)},
                                 {"e2e_ms", ToJson(s.e2e_ms)}};
  return json.dump(2) + "\n";
}

}  // namespace inferd::bench
