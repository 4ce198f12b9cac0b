#pragma once

#include <cstdint>

namespace inferd {

// How long steps take, learnt from recent ones: a line, so much for any step and so
// much for each of its tokens. Engine thread only.
class StepPace {
 public:
  void Observe(int32_t tokens, int64_t us);

  // Microseconds a step of `tokens` will take; 0 as long as nothing is known.
  double Predict(int32_t tokens) const;
  // The most tokens of a step that takes up to `us`, at most `limit`, which is also the
  // answer as long as nothing is known.
  int32_t MostTokens(double us, int32_t limit) const;

 private:
  // Of the recent steps, the older the less.
  double weight_ = 0;
  double mean_tokens_ = 0;
  double mean_us_ = 0;
  double variance_ = 0;    // of the tokens
  double covariance_ = 0;  // of tokens and time
  double UsPerToken() const;
};

}  // namespace inferd
