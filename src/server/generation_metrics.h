#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/server/server.h"
#include "server/ended_request.h"

namespace inferd {

// What the generation requests of one model measured: latencies, sizes, and how
// they ended. Every series exists from construction on. Thread-safe.
class GenerationMetrics {
 public:
  // `registry` owns the series and must outlive this.
  GenerationMetrics(const ServerOptions& options, const std::string& model_name,
                    prometheus::Registry* registry);

  // The same as Metrics' functions of these names.
  void RequestEnded(const EndedRequest& request) const;
  void ObserveFirstToken(int64_t ttft_us) const;
  void ObserveTokens(int64_t elapsed_us, int32_t num_tokens) const;
  void ObserveTemplate(int64_t us) const;
  void ObserveTokenize(int64_t us) const;
  void ObserveWriteBacklog(int32_t num_tokens) const;

 private:
  static constexpr std::array<std::string_view, 5> kFinishReasons = {"stop", "length", "time_limit",
                                                                     "abort", "error"};

  prometheus::Histogram* ttft_;
  prometheus::Histogram* itl_;
  prometheus::Histogram* tpot_;
  prometheus::Histogram* e2e_;
  prometheus::Histogram* queue_;
  prometheus::Histogram* prefill_;
  prometheus::Histogram* decode_;
  prometheus::Histogram* inference_;
  prometheus::Histogram* prompt_tokens_;
  prometheus::Histogram* generation_tokens_;
  prometheus::Histogram* max_tokens_;
  prometheus::Histogram* computed_tokens_;
  prometheus::Histogram* params_max_tokens_;
  prometheus::Histogram* params_n_;
  prometheus::Histogram* tokenize_;
  prometheus::Histogram* chat_template_;
  prometheus::Histogram* write_backlog_;
  std::array<prometheus::Counter*, kFinishReasons.size()> success_;
};

}  // namespace inferd
