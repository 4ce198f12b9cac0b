// Weights that several threads put on the device: the bytes of one thread, bounded memory, the
// first error, and nobody left behind.
#include "backends/cuda/weight_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/fake_cuda.h"
#include "backends/cuda/load_pool.h"

namespace inferd::testing {
namespace {

std::byte ByteAt(size_t place, size_t salt) {
  return static_cast<std::byte>((place * 2654435761U >> 7) + salt);
}

auto Pattern(size_t salt) {
  return [salt](std::byte* to, size_t first, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = ByteAt(first + i, salt);
    return OkStatus();
  };
}

int ThreadsOfProcess() {
  int threads = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    (void)entry;
    ++threads;
  }
  return threads;
}

class WeightRingTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    device_ = Device::Open(0).value();
  }

  std::unique_ptr<Device> device_;
};

INSTANTIATE_TEST_SUITE_P(Threads, WeightRingTest, ::testing::Values(1, 2, 5));

// Matrix after matrix: buffers are used many times over, while the device is as late as it can be.
TEST_P(WeightRingTest, TheDeviceHasTheBytesThatWereMade) {
  struct Shape {
    size_t bytes;
    size_t unit;
  };
  const std::vector<Shape> shapes = {{1, 1},
                                     {300, 100},
                                     {size_t{9} << 20, 4096},
                                     {size_t{5} << 20, 1},
                                     {7000000, 1000},
                                     {6 * 1999872, 1999872},
                                     {size_t{12} << 20, 6 << 20}};
  device_->BeginLoading(GetParam());
  ASSERT_EQ(device_->load_threads() != nullptr, GetParam() > 1);
  std::vector<Buffer> made;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto& [bytes, unit] = shapes[i];
    made.push_back(Buffer::Create(*device_, bytes).value());
    std::mutex mutex;
    std::vector<bool> seen(bytes / unit);
    device_->CopyMade(made.back().data(), bytes, unit,
                      [&, unit = unit](std::byte* to, size_t first, size_t count) {
                        {
                          const std::lock_guard lock(mutex);
                          EXPECT_EQ(first % unit, 0U);
                          EXPECT_EQ(count % unit, 0U);
                          for (size_t u = first / unit; u < (first + count) / unit; ++u) {
                            EXPECT_FALSE(seen[u]) << u;
                            seen[u] = true;
                          }
                        }
                        return Pattern(i)(to, first, count);
                      });
    EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](bool one) { return one; }));
  }
  ASSERT_TRUE(device_->EndLoading().ok());
  for (size_t i = 0; i < shapes.size(); ++i) {
    std::vector<std::byte> bytes(shapes[i].bytes);
    ASSERT_TRUE(device_->CopyOut(bytes.data(), made[i].data(), bytes.size()).ok());
    for (size_t b = 0; b < bytes.size(); ++b) ASSERT_EQ(bytes[b], ByteAt(b, i)) << i << " " << b;
  }
}

// However much is loaded, the pinned memory is that of the start, and it is given back.
TEST_P(WeightRingTest, MemoryAndThreadsAreBoundedAndGivenBack) {
  const int threads_before = ThreadsOfProcess();
  const int64_t before = FakeCuda().pinned_bytes;
  device_->BeginLoading(GetParam());
  const int64_t loading = FakeCuda().pinned_bytes;
  const int threads = GetParam() > 1 ? GetParam() : 0;
  EXPECT_EQ(loading - before, 2 * threads * static_cast<int64_t>(WeightRing::kBufferBytes));
  EXPECT_EQ(ThreadsOfProcess() - threads_before, threads);
  Buffer buffer = Buffer::Create(*device_, size_t{48} << 20).value();
  for (int i = 0; i < 3; ++i) {
    device_->CopyMade(buffer.data(), buffer.size(), 1, Pattern(0));
    EXPECT_EQ(FakeCuda().pinned_bytes, loading);
  }
  EXPECT_TRUE(device_->EndLoading().ok());
  EXPECT_EQ(FakeCuda().pinned_bytes, before);
  EXPECT_EQ(ThreadsOfProcess(), threads_before);
  EXPECT_EQ(device_->load_threads(), nullptr);
}

TEST(WeightRingLimitTest, OfManyCoresAFewAreTaken) {
  ResetFakeCuda();
  const auto device = Device::Open(0).value();
  device->BeginLoading(200);
  EXPECT_EQ(device->load_threads()->count(), WeightRing::kMostThreads);
  EXPECT_TRUE(device->EndLoading().ok());
}

// The first error is the device's, whatever others come while threads end.
TEST_P(WeightRingTest, TheFirstErrorIsTheOneAndNothingIsMadeAfterIt) {
  const int threads_before = ThreadsOfProcess();
  device_->BeginLoading(GetParam());
  Buffer buffer = Buffer::Create(*device_, size_t{48} << 20).value();
  std::mutex mutex;
  bool failed = false;
  std::atomic<int> after{0};
  device_->CopyMade(buffer.data(), buffer.size(), 1,
                    [&](std::byte* to, size_t first, size_t count) {
                      if (first < (size_t{20} << 20)) return Pattern(0)(to, first, count);
                      const std::lock_guard lock(mutex);
                      if (!failed) {
                        failed = true;
                        return UnavailableError("the first error");
                      }
                      ++after;
                      return UnavailableError("a later error");
                    });
  EXPECT_TRUE(failed);
  EXPECT_LT(after.load(), GetParam());  // those who had begun
  EXPECT_EQ(device_->error().message(), "the first error");
  // Nothing is made for a device that has failed.
  device_->CopyMade(buffer.data(), buffer.size(), 1, [&](std::byte*, size_t, size_t) {
    ADD_FAILURE();
    return OkStatus();
  });
  EXPECT_EQ(device_->EndLoading().message(), "the first error");
  EXPECT_EQ(ThreadsOfProcess(), threads_before);
}

// The runtime fails in the middle, whichever call it is.
TEST_P(WeightRingTest, AnErrorOfTheRuntimeEndsIt) {
  constexpr int kLaunchFailure = 719;
  for (int call = 1; call < 60; call += 6) {
    device_.reset();
    ResetFakeCuda();
    device_ = Device::Open(0).value();
    device_->BeginLoading(GetParam());
    Buffer buffer = Buffer::Create(*device_, size_t{20} << 20).value();
    FailFakeCuda(call, kLaunchFailure);
    for (int i = 0; i < 10; ++i) {
      device_->CopyMade(buffer.data(), buffer.size(), 1, Pattern(0));
    }
    EXPECT_FALSE(device_->EndLoading().ok()) << call;
    EXPECT_EQ(device_->load_threads(), nullptr);
    FailFakeCuda(0, 0);
  }
}

TEST(WeightRingLimitTest, AnExceptionIsAnError) {
  ResetFakeCuda();
  const auto device = Device::Open(0).value();
  device->BeginLoading(2);
  Buffer buffer = Buffer::Create(*device, size_t{8} << 20).value();
  device->CopyMade(buffer.data(), buffer.size(), 1,
                   [](std::byte*, size_t, size_t) -> Status { throw std::bad_alloc(); });
  EXPECT_EQ(device->EndLoading().code(), StatusCode::kResourceExhausted);
}

// Without pinned memory for the ring a load goes on as without threads.
TEST_P(WeightRingTest, WithoutMemoryForItOneThreadLoads) {
  SetFakePinnedBytes(FakeCuda().pinned_bytes + int64_t{WeightRing::kBufferBytes} * 3);
  device_->BeginLoading(GetParam());
  EXPECT_EQ(device_->load_threads(), nullptr);
  Buffer buffer = Buffer::Create(*device_, size_t{20} << 20).value();
  device_->CopyMade(buffer.data(), buffer.size(), 1, Pattern(3));
  ASSERT_TRUE(device_->EndLoading().ok());
  std::vector<std::byte> bytes(buffer.size());
  ASSERT_TRUE(device_->CopyOut(bytes.data(), buffer.data(), bytes.size()).ok());
  for (size_t b = 0; b < bytes.size(); ++b) ASSERT_EQ(bytes[b], ByteAt(b, 3)) << b;
}

TEST(LoadPoolTest, EveryTaskRunsOnceAndTheFirstErrorEndsThem) {
  EXPECT_EQ(LoadPool::Create(1), nullptr);
  const auto pool = LoadPool::Create(4);
  ASSERT_EQ(pool->count(), 4);
  for (const int64_t tasks : {0, 1, 3, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
    ASSERT_TRUE(pool->Run(tasks,
                          [&](int64_t task) {
                            ++runs[static_cast<size_t>(task)];
                            return OkStatus();
                          })
                    .ok());
    for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
  }
  std::atomic<int> runs{0};
  const Status status = pool->Run(1000000, [&](int64_t task) {
    ++runs;
    if (task != 10) return OkStatus();
    return UnavailableError("task 10");
  });
  EXPECT_EQ(status.message(), "task 10");
  EXPECT_LT(runs.load(), 1000000);
}

}  // namespace
}  // namespace inferd::testing
