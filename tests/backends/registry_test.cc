#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "backends/cuda/cuda_library.h"
#include "inferd/backends/backend.h"

namespace inferd {
namespace {

TEST(RegistryTest, ListsBestFirst) {
  const auto names = BackendNames();
  ASSERT_EQ(names.size(), 3u);
  EXPECT_EQ(names[0], "cuda");
  EXPECT_EQ(names[1], "cpu");
  EXPECT_EQ(names[2], "ref");
}

TEST(RegistryTest, EveryNameCreatesABackendOfThatName) {
  for (const std::string_view name : BackendNames()) {
    auto backend = CreateBackend(name, {});
    if (name == "cuda" && backend.status().code() == StatusCode::kUnavailable) {
      EXPECT_TRUE(backend.status().message().starts_with("cuda: "));
      continue;
    }
    ASSERT_TRUE(backend.ok()) << backend.status().ToString();
    EXPECT_EQ((*backend)->ops().name(), name);
    EXPECT_GT((*backend)->TotalMemoryBytes(), 0);
    EXPECT_GT((*backend)->AvailableMemoryBytes(), 0);
    EXPECT_LE((*backend)->AvailableMemoryBytes(), (*backend)->TotalMemoryBytes());
  }
}

TEST(RegistryTest, AutoIsOneThatRunsHere) {
  auto backend = CreateBackend("auto", {});
  ASSERT_TRUE(backend.ok()) << backend.status().ToString();
  EXPECT_EQ((*backend)->ops().name(), CudaIsUsable() ? "cuda" : "cpu");
}

// Each in one line, and none of them ends the process.
TEST(RegistryTest, WhatIsMissingOfTheDeviceIsSaid) {
  EXPECT_EQ(OpenCudaBackend({}, {}).status().code(), StatusCode::kUnavailable);
  const std::filesystem::path folder = ::testing::TempDir();
  const auto damaged = folder / "libinferd_cuda_damaged.so";
  std::ofstream(damaged) << "not a library\n";
  const Status status = OpenCudaBackend({folder / "not_there.so", damaged}, {}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find(damaged.string()), std::string::npos);
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
  // A library, but not ours.
  const Status foreign = OpenCudaBackend({"/lib/x86_64-linux-gnu/libm.so.6"}, {}).status();
  EXPECT_TRUE(foreign.code() == StatusCode::kFailedPrecondition ||
              foreign.code() == StatusCode::kUnavailable);
}

TEST(RegistryTest, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  const auto backend = CreateBackend("abacus", {});
  EXPECT_EQ(backend.status().code(), StatusCode::kNotFound);
  EXPECT_NE(backend.status().message().find("cuda, cpu, ref"), std::string::npos);
}

TEST(RegistryTest, ThreadsAreTakenAndChecked) {
  auto backend = CreateBackend("cpu", {3, nullptr});
  ASSERT_TRUE(backend.ok());
  EXPECT_NE((*backend)->Description().find("3 threads"), std::string::npos);
  EXPECT_EQ(CreateBackend("cpu", {-1, nullptr}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateBackend("cpu", {100000, nullptr}).status().code(), StatusCode::kInvalidArgument);
}

class PackTest : public ::testing::TestWithParam<std::string_view> {};

TEST_P(PackTest, WeightsThatDoNotFitTogetherAreRefused) {
  auto backend = CreateBackend(GetParam(), {2, nullptr});
  ASSERT_TRUE(backend.ok());
  Ops& ops = (*backend)->ops();
  std::vector<float> data(64);
  std::vector<int64_t> ids(8);
  const auto part = [&](int64_t out, int64_t in) {
    return RawLinear{WeightFormat::kF32, {data.data(), DType::kF32, {out, in}}};
  };
  const auto code = [&](std::vector<RawLinear> parts, std::vector<TensorView> bias) {
    return ops.Pack(parts, bias).status().code();
  };
  EXPECT_EQ(code({part(4, 4)}, {}), StatusCode::kOk);
  EXPECT_EQ(code({}, {}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({part(4, 4), part(4, 5)}, {}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({part(0, 4)}, {}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{WeightFormat::kBF16, {data.data(), DType::kF32, {4, 4}}}}, {}),
            StatusCode::kInvalidArgument);
  const TensorView bias{data.data(), DType::kF32, {4}};
  const TensorView short_bias{data.data(), DType::kF32, {3}};
  EXPECT_EQ(code({part(4, 4)}, {bias}), StatusCode::kOk);
  EXPECT_EQ(code({part(4, 4)}, {short_bias}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({part(4, 4), part(4, 4)}, {bias}), StatusCode::kInvalidArgument);
  EXPECT_FALSE(ops.PackVector({ids.data(), DType::kI64, {8}}).ok());
  EXPECT_FALSE(ops.PackEmbedding({data.data(), DType::kF32, {8}}).ok());
}

TEST_P(PackTest, IntegerWeightsAreChecked) {
  auto backend = CreateBackend(GetParam(), {2, nullptr});
  ASSERT_TRUE(backend.ok());
  Ops& ops = (*backend)->ops();
  std::vector<std::byte> data(4096);
  std::vector<float> scales(4096);
  std::vector<uint8_t> zeros(4096, 15);
  const RawLinear eight{WeightFormat::kInt8,
                        {data.data(), DType::kI8, {4, 10}},
                        {scales.data(), DType::kF32, {4}},
                        {},
                        0};
  const RawLinear four{WeightFormat::kInt4,
                       {data.data(), DType::kU8, {4, 64}},
                       {scales.data(), DType::kF32, {4, 2}},
                       {zeros.data(), DType::kU8, {4, 2}},
                       64};
  const auto code = [&](std::vector<RawLinear> parts) {
    return ops.Pack(parts, {}).status().code();
  };
  // `change` makes of a good part a bad one.
  const auto refused = [&](const RawLinear& good, const auto& change) {
    RawLinear part = good;
    change(part);
    return code({part}) == StatusCode::kInvalidArgument;
  };
  EXPECT_EQ(code({eight, eight}), StatusCode::kOk);
  EXPECT_EQ(code({four, four}), StatusCode::kOk);
  EXPECT_EQ(code({eight, four}), StatusCode::kInvalidArgument);
  EXPECT_TRUE(refused(eight, [](RawLinear& p) { p.data.dtype = DType::kU8; }));
  EXPECT_TRUE(refused(eight, [](RawLinear& p) { p.scales = {}; }));
  EXPECT_TRUE(refused(eight, [](RawLinear& p) { p.scales.dtype = DType::kBF16; }));
  EXPECT_TRUE(refused(eight, [](RawLinear& p) { p.scales.shape[0] = 3; }));
  EXPECT_TRUE(refused(eight, [](RawLinear& p) { p.data.shape[1] = (1 << 17) + 1; }));
  EXPECT_TRUE(refused(four, [](RawLinear& p) { p.data.dtype = DType::kI8; }));
  EXPECT_TRUE(refused(four, [](RawLinear& p) { p.scales.shape[1] = 1; }));
  EXPECT_TRUE(refused(four, [](RawLinear& p) { p.zeros = {}; }));
  EXPECT_TRUE(refused(four, [](RawLinear& p) { p.zeros.dtype = DType::kI8; }));
  EXPECT_TRUE(refused(four, [](RawLinear& p) { p.zeros.shape[0] = 3; }));
  for (const int32_t size : {-64, 0, 1, 16, 48, 256}) {
    EXPECT_TRUE(refused(four, [&](RawLinear& p) { p.group_size = size; })) << size;
  }
  RawLinear half_groups = four;
  half_groups.group_size = 32;
  half_groups.scales.shape[1] = half_groups.zeros.shape[1] = 4;
  EXPECT_EQ(code({half_groups}), StatusCode::kOk);
  EXPECT_EQ(code({four, half_groups}), StatusCode::kInvalidArgument);
  zeros[7] = 16;
  EXPECT_EQ(code({four}), StatusCode::kInvalidArgument);
}

TEST_P(PackTest, ATokenOutsideTheTableIsAnErrorOnce) {
  auto backend = CreateBackend(GetParam(), {2, nullptr});
  ASSERT_TRUE(backend.ok());
  Ops& ops = (*backend)->ops();
  std::vector<float> values(12, 1.0F);
  auto table = ops.PackEmbedding({values.data(), DType::kF32, {4, 3}});
  ASSERT_TRUE(table.ok());
  const std::vector<TokenId> ids = {1, 4};
  const std::vector<int32_t> positions = {0, 1};
  const std::vector<int32_t> row_start = {0, 2};
  const std::vector<int32_t> context = {2};
  const std::vector<BlockId> blocks = {1};
  StepInputs inputs{2, 1, ids, positions, row_start, context, blocks, 1, {}};
  const auto plan = ops.MakeStepPlan(2, 1, 1);
  ops.PlanStep(inputs, plan.get());
  std::vector<float> out(6, -1.0F);
  ops.Embed(*plan, *table, {out.data(), DType::kF32, {2, 3}});
  EXPECT_EQ(out, (std::vector<float>{1, 1, 1, 0, 0, 0}));
  EXPECT_EQ(ops.Finish().code(), StatusCode::kInternal);
  EXPECT_TRUE(ops.Finish().ok());
}

INSTANTIATE_TEST_SUITE_P(Backends, PackTest, ::testing::Values("cpu", "ref"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace inferd
