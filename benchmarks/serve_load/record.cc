#include "serve_load/record.h"

#include <algorithm>
#include <numeric>

namespace inferd::bench {

void RequestRecord::AddTokens(double now, int32_t count) {
  if (count <= 0) return;
  // Not output_tokens: the server may have counted one that was in no message.
  if (!started()) {
    first_token = now;
    last_token_ = now;
    ++output_tokens;
    --count;
  }
  if (count > 0) {
    const auto gap = static_cast<float>((now - last_token_) / count);
    gaps.insert(gaps.end(), static_cast<size_t>(count), gap);
    output_tokens += count;
  }
  last_token_ = now;
}

void RequestRecord::SetOutputTokens(int32_t count) {
  output_tokens = std::max(output_tokens, count);
}

double RequestRecord::MeanGap() const {
  if (gaps.empty()) return 0;
  return std::accumulate(gaps.begin(), gaps.end(), 0.0) / static_cast<double>(gaps.size());
}

}  // namespace inferd::bench
