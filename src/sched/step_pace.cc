#include "sched/step_pace.h"

#include <algorithm>

namespace inferd {
namespace {

// What a step counts for by the time of the next one: some fifty steps decide.
constexpr double kKeep = 0.98;
// A step that takes many times what was expected (the process was stopped, a neighbour
// had the cores) says little about the next one.
constexpr double kMostSurprise = 4.0;

}  // namespace

void StepPace::Observe(int32_t tokens, int64_t us) {
  auto time = static_cast<double>(std::max<int64_t>(1, us));
  if (weight_ > 0) time = std::min(time, kMostSurprise * Predict(tokens));
  weight_ = kKeep * weight_ + 1;
  const double share = 1 / weight_;
  const double more = tokens - mean_tokens_;
  const double later = time - mean_us_;
  mean_tokens_ += share * more;
  mean_us_ += share * later;
  variance_ = (1 - share) * (variance_ + share * more * more);
  covariance_ = (1 - share) * (covariance_ + share * more * later);
}

// Between nothing per step and nothing per token: what lies outside is chance.
double StepPace::UsPerToken() const {
  const double most = mean_us_ / mean_tokens_;
  if (variance_ < 1) return most;  // all steps alike: rather too much than too little
  return std::clamp(covariance_ / variance_, 0.0, most);
}

double StepPace::Predict(int32_t tokens) const {
  if (weight_ <= 0) return 0;
  return std::max(0.0, mean_us_ + UsPerToken() * (tokens - mean_tokens_));
}

int32_t StepPace::MostTokens(double us, int32_t limit) const {
  if (weight_ <= 0) return limit;
  const double per_token = UsPerToken();
  const double room = us - Predict(0);
  if (per_token * limit <= room) return limit;
  if (per_token <= 0 || room <= 0) return 0;
  return static_cast<int32_t>(std::min<double>(limit, room / per_token));
}

}  // namespace inferd
