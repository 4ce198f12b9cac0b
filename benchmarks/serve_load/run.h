#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inferd/v1/services.grpc.pb.h"
#include "serve_load/options.h"

namespace inferd::bench {

// One request as its client felt it. Seconds; a late start counts against the
// server, because times run from when the request was due.
struct RequestRecord {
  double due = 0;  // since the start of the run
  double first_token = 0;
  double end = 0;
  std::vector<float> gaps;  // between tokens; those of one message share its gap
  int32_t output_tokens = 0;
  int32_t prompt_tokens = 0;
  int code = 0;  // gRPC status

  double ttft() const { return first_token - due; }
  double e2e() const { return end - due; }
  double MeanGap() const;
};

struct RunRecord {
  std::vector<RequestRecord> requests;
  double seconds = 0;
};

// Offers the load and waits for every answer. Prompts are random token ids below
// `vocab_size`, a function of the seed alone.
RunRecord RunLoad(const LoadOptions& options, int32_t vocab_size,
                  v1::CompletionService::Stub& stub);

}  // namespace inferd::bench
