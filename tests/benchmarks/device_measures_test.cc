// Every measurement of device_bench through the device backend on the CPU: steps are recorded and
// replayed, memory is one piece, and the figures say nothing.
#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/fake_cuda.h"
#include "measures.h"

namespace inferd::device_bench {
namespace {

TEST(DeviceBench, EveryMeasurementRunsOnADeviceBackend) {
  const char* const flags[] = {"device_bench", "--shape", "tiny",       "--seconds", "0",
                               "--batches",    "1",       "--contexts", "32"};
  const Options options =
      ParseOptions(static_cast<int>(std::size(flags)), static_cast<const char* const*>(flags))
          .value();
  testing::ResetFakeCuda(int64_t{1} << 30);
  BackendOptions backend_options;
  backend_options.activations = Activations::kAuto;
  const std::unique_ptr<Backend> backend = MakeCudaBackend(backend_options).value();
  Require(backend->ops().Reserve(backend->AvailableMemoryBytes() / 20 * 19));
  ::testing::internal::CaptureStdout();
  RandomModel model(backend->ops(), options);
  Measures measures(backend->ops(), model, options);
  measures.Copy();
  measures.Peak();
  model.Load(32);
  measures.Step("decode", 1, 32, 1);
  measures.Step("decode", 600, 8192, 1);  // more than there is memory for
  measures.Step("prefill", 1, 32, 32);
  measures.OtherOps();
  const std::string lines = ::testing::internal::GetCapturedStdout();
  for (const char* line : {"\"copy\"", "\"peak\"", "\"ms\":", "no memory for its cache",
                           "\"prefill\"", "\"norm\"", "\"silu\"", "\"rope_kv\"", "\"attention\""}) {
    EXPECT_NE(lines.find(line), std::string::npos) << line << " in " << lines;
  }
  EXPECT_TRUE(backend->ops().Finish().ok());
  EXPECT_GT(testing::FakeCuda().graph_launches, 0);
  EXPECT_EQ(testing::FakeCuda().device_allocations, 1);
}

}  // namespace
}  // namespace inferd::device_bench
