#pragma once

#include <map>
#include <string>

#include "serve_load/options.h"
#include "serve_load/record.h"

namespace inferd::bench {

struct Quantiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};

// What a run amounts to. Times in milliseconds, of answered requests only.
struct Summary {
  int64_t answered = 0;
  std::map<std::string, int64_t> errors;  // by code
  double seconds = 0;
  double requests_per_second = 0;
  double input_tokens_per_second = 0;
  double output_tokens_per_second = 0;
  double cached_share = 0;  // of the prompt tokens, found in the server's cache
  // Answered requests per second that met both objectives: time to first token,
  // and the mean gap between tokens.
  double goodput = 0;
  double good_share = 0;  // of all requests
  Quantiles ttft_ms;
  Quantiles itl_ms;
  Quantiles tpot_ms;  // mean gap of each request
  Quantiles e2e_ms;
};

Summary Summarise(const LoadOptions& options, const RunRecord& run);
std::string FormatTable(const LoadOptions& options, const Summary& summary);
std::string FormatJson(const LoadOptions& options, const Summary& summary);

}  // namespace inferd::bench
