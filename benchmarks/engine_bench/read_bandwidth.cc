#include "engine_bench/read_bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace inferd::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kStreams = 4;            // per thread: the prefetchers follow each
constexpr size_t kLine = 64;              // bytes
constexpr size_t kAhead = 512;            // bytes that a prefetch runs before its read
constexpr size_t kHugePage = 2ULL << 20;  // bytes

struct Lane {
  uint64_t sums[kLine / sizeof(uint64_t)] = {};
};

// Touches every byte of kStreams parts side by side.
uint64_t ReadAll(const std::byte* data, size_t bytes) {
  const size_t part = bytes / kStreams / kLine * kLine;
  Lane lane[kStreams];
  for (size_t at = 0; at < part; at += kLine) {
    for (size_t s = 0; s < kStreams; ++s) {
      const std::byte* line = data + s * part + at;
      __builtin_prefetch(line + kAhead, 0, 2);
      uint64_t words[kLine / sizeof(uint64_t)];
      std::memcpy(words, line, kLine);
      for (size_t i = 0; i < kLine / sizeof(uint64_t); ++i) lane[s].sums[i] += words[i];
    }
  }
  uint64_t sum = 0;
  for (const Lane& l : lane) {
    for (const uint64_t value : l.sums) sum += value;
  }
  return sum;
}

// Zeroed memory in large pages where the system gives them.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return;
    data_ = static_cast<std::byte*>(data);
    madvise(data, bytes, MADV_HUGEPAGE);
  }
  ~Memory() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::byte* data() { return data_; }

 private:
  const size_t bytes_;
  std::byte* data_ = nullptr;
};

}  // namespace

double MeasureReadBandwidth(size_t bytes, int threads, int passes) {
  const auto count = static_cast<size_t>(std::max(threads, 1));
  const size_t share = bytes / count / kHugePage * kHugePage;
  Memory memory(share * count + kHugePage);
  if (memory.data() == nullptr || share == 0) return 0;
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int pass = 0; pass <= passes; ++pass) {  // the first only touches the pages
    std::atomic<size_t> ready{0};
    std::vector<double> begin(count);
    std::vector<double> end(count);
    std::vector<std::thread> readers;
    const Clock::time_point zero = Clock::now();
    for (size_t t = 0; t < count; ++t) {
      readers.emplace_back([&, t] {
        std::byte* mine = memory.data() + t * share;
        if (pass == 0) std::memset(mine, static_cast<int>(t + 1), share);
        ready.fetch_add(1);
        while (ready.load() < count) std::this_thread::yield();
        begin[t] = std::chrono::duration<double>(Clock::now() - zero).count();
        sink.fetch_add(ReadAll(mine, share));
        end[t] = std::chrono::duration<double>(Clock::now() - zero).count();
      });
    }
    for (std::thread& reader : readers) reader.join();
    if (pass == 0) continue;
    const double seconds =
        *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
    best = std::max(best, static_cast<double>(share * count) / std::max(seconds, 1e-9));
  }
  return sink.load() == 0 ? 0 : best;
}

}  // namespace inferd::bench
