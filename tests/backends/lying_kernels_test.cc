// The sampler over kernels that lie: whatever they say, a row ends as corrupted
// and nothing is read out of bounds. This program has its own kernels instead of
// those of kernels/cpu.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "backends/cpu/cpu_sampling.h"
#include "cpu/gumbel.h"
#include "cpu/sample.h"

namespace inferd::kernels {

RowScan ScanRow(const float* x, int64_t n) { return {*std::max_element(x, x + n), true}; }
int64_t FindFirst(const float*, int64_t n, float) { return n; }
int64_t CollectAtLeast(const float*, int64_t, int64_t, float, int32_t*) { return 0; }
void ChunkMaxima(const float*, int64_t n, int64_t chunk, float* out) {
  std::fill_n(out, (n + chunk - 1) / chunk, std::numeric_limits<float>::infinity());
}
double SumExp(const float*, int64_t, float, float) { return 1; }
float GumbelScores(const float*, float, float, uint64_t, uint64_t, uint32_t, float* out) {
  std::fill_n(out, kGumbelChunk, -1.0F);
  return -1;
}

}  // namespace inferd::kernels

namespace inferd {
namespace {

// The vocabulary's end is the allocation's end, for the sanitizers.
SampleOutput Sample(int64_t vocab, const SampleRow& row) {
  std::vector<float> logits(static_cast<size_t>(vocab), 0.0F);
  logits.back() = 1.0F;
  std::vector<std::byte> bytes(static_cast<size_t>(20 * vocab));
  CpuSamplerMemory memory = CpuSamplerMemory::Place(bytes.data(), vocab);
  SampleOutput out;
  out.token = 7;
  out.corrupted = false;
  CpuSampleRow(logits, row, memory, &out);
  return out;
}

TEST(LyingKernelsTest, ALostMaximumIsACorruptedRow) {
  int rows = 0;
  for (const int64_t vocab : {1, 17, 64, 200, 1000}) {
    for (const float temperature : {0.0F, 1e-7F, 1.0F}) {
      for (const int top_k : {0, 1, 5, 2000}) {
        for (const float top_p : {1.0F, 0.5F}) {
          for (const float min_p : {0.0F, 0.1F}) {
            for (const int logprobs : {-1, 0, 3}) {
              SampleRow row;
              row.temperature = temperature;
              row.top_k = top_k;
              row.top_p = top_p;
              row.min_p = min_p;
              row.logprobs = logprobs;
              const SampleOutput out = Sample(vocab, row);
              EXPECT_TRUE(out.corrupted) << vocab << " T " << temperature << " k " << top_k;
              EXPECT_EQ(out.token, -1);
              EXPECT_EQ(out.logprob, 0.0F);
              EXPECT_TRUE(out.top.empty());
              ++rows;
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(rows, 5 * 3 * 4 * 2 * 2 * 3);
}

}  // namespace
}  // namespace inferd
