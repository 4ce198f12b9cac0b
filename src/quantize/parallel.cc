#include "quantize/parallel.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace inferd::quantize {

void ParallelFor(int threads, int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  constexpr int64_t kPartsPerThread = 8;
  const int64_t part = std::max<int64_t>(1, count / (kPartsPerThread * std::max(1, threads)));
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t begin = next.fetch_add(part); begin < count; begin = next.fetch_add(part)) {
      body(begin, std::min(count, begin + part));
    }
  };
  std::vector<std::thread> others;
  try {
    while (static_cast<int>(others.size()) + 1 < threads) others.emplace_back(work);
  } catch (const std::system_error&) {
    // The threads there are do it all.
  }
  work();
  for (std::thread& thread : others) thread.join();
}

}  // namespace inferd::quantize
