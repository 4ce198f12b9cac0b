// Every backend against the reference, case by case. A backend that is not on
// this machine is skipped, and counted in the closing line.
#include <gtest/gtest.h>

#include <iostream>
#include <map>

#include "inferd/backends/backend.h"
#include "ops/cases.h"
#include "ops/conformance.h"
#include "support/fussy_backend.h"

namespace inferd::testing {
namespace {

TEST(ConformanceTest, EveryBackendAgreesWithTheReference) {
  auto reference = CreateBackend("ref", {});
  ASSERT_TRUE(reference.ok());
  std::map<std::string, Tally> tallies;
  for (const std::string_view name : BackendNames()) {
    BackendOptions options;
    options.threads = 2;
    auto backend = CreateBackend(name, options);
    Tally& tally = tallies[std::string(name)];
    if (!backend.ok()) {
      tally.skipped = static_cast<int>(AllCases(16).size());
      std::cout << "conformance: skipping " << name << ": " << backend.status().ToString() << "\n";
      continue;
    }
    const bool is_gpu = name == "cuda";
    tally = Compare(**reference, **backend, 16, "", is_gpu ? 2.0 : 1.0, is_gpu);
  }
  std::cout << "conformance:";
  for (const auto& [name, tally] : tallies) {
    std::cout << " " << name << " " << tally.run << " run, " << tally.skipped << " skipped;";
  }
  std::cout << "\n";
  EXPECT_GT(tallies["cpu"].run, 0);
}

TEST(ConformanceTest, OtherBlockSizesAgree) {
  auto reference = CreateBackend("ref", {});
  auto cpu = CreateBackend("cpu", {2, nullptr});
  ASSERT_TRUE(reference.ok() && cpu.ok());
  for (const int32_t block_size : {1, 8, 24, 32, 128}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8, DType::kF8E4M3}) {
      const OpCase c = AttentionCase({6, 2, 40, block_size, dtype, {{150, 20}, {9, 9}, {700, 1}}});
      SCOPED_TRACE(c.name);
      const auto expected = RunOnce(*c.prepare((*reference)->ops()));
      EXPECT_LE(Deviation(RunOnce(*c.prepare((*cpu)->ops())), expected), c.tolerance);
    }
  }
}

TEST(ConformanceTest, TheFussyBackendAgrees) {
  auto reference = CreateBackend("ref", {});
  ASSERT_TRUE(reference.ok());
  FussyBackend fussy;
  for (const char* part : {"Attention", "AppendKv"}) {
    EXPECT_GT(Compare(**reference, fussy, FussyOps::kBlockSize, part).run, 0);
  }
}

TEST(ConformanceTest, ThreadCountsGiveTheSameBits) {
  auto one = CreateBackend("cpu", {1, nullptr});
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3}) {
    auto many = CreateBackend("cpu", {threads, nullptr});
    ASSERT_TRUE(many.ok());
    for (const OpCase& c : AllCases(16)) {
      EXPECT_TRUE(SameBits(RunOnce(*c.prepare((*one)->ops())), RunOnce(*c.prepare((*many)->ops()))))
          << c.name << " with " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace inferd::testing
