// Readings of GPUs through a management library of the tests' own. EXPECT_LIBRARY: whole,
// partial (without a function), or absent.
#include "inferd/backends/device_monitor.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>
#include <thread>

#include "inferd/base/clock.h"

namespace inferd::testing {
namespace {

constexpr char kLibrary[] = "libnvidia-ml.so.1";
constexpr std::string_view kExpected = EXPECT_LIBRARY;

class Trouble {
 public:
  explicit Trouble(const char* words) { setenv("EMULATED_NVML", words, 1); }
  ~Trouble() { unsetenv("EMULATED_NVML"); }
  Trouble(const Trouble&) = delete;
  Trouble& operator=(const Trouble&) = delete;
};

int Calls() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  const auto count = reinterpret_cast<int (*)()>(dlsym(library, "inferd_emulated_nvml_calls"));
  return count();
}

DeviceReading Expected(int number) {
  DeviceReading reading;
  reading.utilization = (10 + number) / 100.0;
  reading.memory_used_bytes = 100 + number;
  reading.memory_total_bytes = 1000;
  reading.temperature_celsius = 40 + number;
  if (kExpected == "whole") reading.power_watts = 200.5 + number;
  return reading;
}

class DeviceMonitorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kExpected == "absent") GTEST_SKIP() << "without a library";
  }
  ManualClock clock_;
};

TEST(DeviceMonitor, IsNotThereWithoutALibrary) {
  if (kExpected != "absent") GTEST_SKIP() << "with a library";
  ManualClock clock;
  const auto monitor = OpenDeviceMonitor({"0000:3E:00.0"}, clock);
  ASSERT_EQ(monitor.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(monitor.status().message().find(kLibrary), std::string::npos);
}

TEST_F(DeviceMonitorTest, GpusAreFoundByTheirPlaceOnTheBus) {
  auto monitor = OpenDeviceMonitor({"0000:40:00.0", "", "0000:3E:00.0", "0000:99:00.0"}, clock_);
  ASSERT_TRUE(monitor.ok()) << monitor.status().ToString();
  const std::vector<DeviceReading> readings = (*monitor)->Read();
  ASSERT_EQ(readings.size(), 4u);
  EXPECT_EQ(readings[0], Expected(2));
  EXPECT_EQ(readings[1], DeviceReading());
  EXPECT_EQ(readings[2], Expected(0));
  EXPECT_EQ(readings[3], DeviceReading());
}

TEST_F(DeviceMonitorTest, TheDriverIsAskedOnceASecond) {
  auto monitor = OpenDeviceMonitor({"0000:3E:00.0"}, clock_).value();
  const int before = Calls();
  const std::vector<DeviceReading> first = monitor->Read();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(monitor->Read(), first);
  EXPECT_EQ(Calls(), before + 1);
  clock_.AdvanceUs(999'999);
  (void)monitor->Read();
  EXPECT_EQ(Calls(), before + 1);
  clock_.AdvanceUs(1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(monitor->Read(), first); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Calls(), before + 2);
}

TEST_F(DeviceMonitorTest, WhatFailsIsAbsentAndComesBack) {
  auto monitor = OpenDeviceMonitor({"0000:3E:00.0", "0000:3F:00.0"}, clock_).value();
  const auto later = [&] {
    clock_.AdvanceUs(1'000'000);
    return monitor->Read();
  };
  {
    const Trouble trouble("gone power");
    const std::vector<DeviceReading> readings = later();
    DeviceReading without_power = Expected(0);
    without_power.power_watts.reset();
    EXPECT_EQ(readings[0], without_power);
    EXPECT_EQ(readings[1], DeviceReading());
  }
  EXPECT_EQ(later()[1], Expected(1));
  {
    const Trouble trouble("all");
    EXPECT_EQ(later()[0], DeviceReading());
  }
  EXPECT_EQ(later()[0], Expected(0));
}

TEST_F(DeviceMonitorTest, ALibraryThatDoesNotStartIsNone) {
  const Trouble trouble("init");
  EXPECT_EQ(OpenDeviceMonitor({"0000:3E:00.0"}, clock_).status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace inferd::testing
