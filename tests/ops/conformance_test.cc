// Every backend against the reference, case by case. A backend that is not on
// this machine is skipped, and counted in the closing line.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <iostream>
#include <map>

#include "inferd/backends/backend.h"
#include "ops/cases.h"
#include "support/fussy_backend.h"

namespace inferd::testing {
namespace {

constexpr uint32_t kPoison = 0x7fc0dead;

bool HasPoison(const std::vector<float>& values) {
  for (const float v : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof(bits));
    if (bits == kPoison) return true;
  }
  return false;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Largest |a - ref| / (|ref| + rms(ref)).
double Deviation(const std::vector<float>& a, const std::vector<float>& ref) {
  double squares = 0;
  for (const float v : ref) squares += double{v} * v;
  const double rms = std::sqrt(squares / static_cast<double>(ref.size())) + 1e-30;
  double worst = 0;
  for (size_t i = 0; i < ref.size(); ++i) {
    const double error = std::abs(double{a[i]} - ref[i]) / (std::abs(double{ref[i]}) + rms);
    if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

std::vector<float> RunOnce(PreparedCase& prepared) {
  prepared.Reset();
  prepared.Run();
  EXPECT_TRUE(prepared.GuardsIntact());
  return prepared.Outputs();
}

struct Tally {
  int run = 0;
  int skipped = 0;
};

// Runs every case on `backend`, or those whose name contains `part`; blocks of
// `block_size` tokens. The reference itself is only held to the rules.
Tally Compare(Backend& reference, Backend& backend, int32_t block_size,
              const std::string& part = "") {
  Tally tally;
  for (const OpCase& c : AllCases(block_size)) {
    if (c.name.find(part) == std::string::npos) continue;
    SCOPED_TRACE(std::string(backend.ops().name()) + " " + c.name);
    const auto prepared = c.prepare(backend.ops());
    const std::vector<float> actual = RunOnce(*prepared);
    const std::vector<float> expected =
        backend.ops().name() == "ref" ? actual : RunOnce(*c.prepare(reference.ops()));
    EXPECT_EQ(expected.size(), actual.size());
    EXPECT_FALSE(HasPoison(actual)) << "an output element was not written";
    const double deviation = Deviation(actual, expected);
    EXPECT_LE(deviation, c.tolerance) << c.reason;
    EXPECT_TRUE(SameBits(actual, RunOnce(*prepared))) << "a second run differs";
    EXPECT_TRUE(backend.ops().Finish().ok());
    ++tally.run;
  }
  return tally;
}

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
    tally = Compare(**reference, **backend, 16);
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
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
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
