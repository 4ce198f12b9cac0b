#pragma once

#include <cstdint>
#include <vector>

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
  int32_t cached_tokens = 0;  // of the prompt, as the server tells
  int code = 0;               // StatusCode

  // `count` tokens arrived together at `now`.
  void AddTokens(double now, int32_t count);
  // The server says how many tokens it generated. Those that came in no message
  // of their own (part of a character, say) count, but leave no gap.
  void SetOutputTokens(int32_t count);

  // An answer without a visible token came with its end.
  double ttft() const { return (started() ? first_token : end) - due; }
  double e2e() const { return end - due; }
  double MeanGap() const;

 private:
  bool started() const { return last_token_ >= 0; }

  double last_token_ = -1;  // -1: none yet
};

struct RunRecord {
  std::vector<RequestRecord> requests;
  double seconds = 0;
};

}  // namespace inferd::bench
