#include <gtest/gtest.h>

#include "options.h"

namespace inferd::device_bench {
namespace {

StatusOr<Options> Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "device_bench");
  return ParseOptions(static_cast<int>(flags.size()), flags.data());
}

TEST(DeviceBenchOptions, WithoutFlagsAllOfTheLargeShapeIsMeasured) {
  const Options options = Parse({}).value();
  EXPECT_EQ(options.shape.name, "llama3-8b");
  EXPECT_EQ(options.batches, (std::vector<int32_t>{1, 8, 32, 64, 128, 256}));
  EXPECT_EQ(options.contexts, (std::vector<int32_t>{512, 2048, 8192}));
  EXPECT_TRUE(options.Wants("decode"));
  EXPECT_TRUE(options.Wants("sample"));
  EXPECT_TRUE(options.graphs);
  EXPECT_TRUE(options.tuning.empty());
}

TEST(DeviceBenchOptions, Flags) {
  const Options options = Parse({"--backend", "cpu", "--shape", "tiny", "--format", "fp8",
                                 "--tuning", "/t", "--parts", "copy,op", "--batches", "1,64",
                                 "--contexts", "8192", "--seconds", "0.25", "--graphs", "off"})
                              .value();
  EXPECT_EQ(options.backend, "cpu");
  EXPECT_EQ(options.shape.layers, 2);
  EXPECT_EQ(options.format, "fp8");
  EXPECT_EQ(options.tuning, "/t");
  EXPECT_TRUE(options.Wants("op"));
  EXPECT_FALSE(options.Wants("decode"));
  EXPECT_EQ(options.batches, (std::vector<int32_t>{1, 64}));
  EXPECT_EQ(options.contexts, (std::vector<int32_t>{8192}));
  EXPECT_EQ(options.seconds, 0.25);
  EXPECT_FALSE(options.graphs);
}

TEST(DeviceBenchOptions, WhatIsNotUnderstoodIsRefused) {
  for (const std::vector<const char*>& flags :
       std::vector<std::vector<const char*>>{{"--shape", "large"},
                                             {"--format", "bf17"},
                                             {"--parts", "copy,"},
                                             {"--batches", ""},
                                             {"--batches", "1,0"},
                                             {"--batches", "1 2"},
                                             {"--contexts", "99999999999"},
                                             {"--seconds", "long"},
                                             {"--seconds", "-1"},
                                             {"--seconds", "nan"},
                                             {"--graphs", "yes"},
                                             {"--speed", "1"},
                                             {"--backend"}}) {
    EXPECT_EQ(Parse(flags).status().code(), StatusCode::kInvalidArgument) << flags[0];
  }
}

}  // namespace
}  // namespace inferd::device_bench
