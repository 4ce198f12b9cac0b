// Cases of a backend against the reference: what conformance tests share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "inferd/backends/backend.h"
#include "ops/cases.h"

namespace inferd::testing {

inline constexpr uint32_t kPoison = 0x7fc0dead;

inline bool HasPoison(const std::vector<float>& values) {
  for (const float v : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof(bits));
    if (bits == kPoison) return true;
  }
  return false;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Largest |a - ref| / (|ref| + rms(ref)).
inline double Deviation(const std::vector<float>& a, const std::vector<float>& ref) {
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

inline std::vector<float> RunOnce(PreparedCase& prepared) {
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
// `block_size` tokens. The reference itself is only held to the rules. `slack` times
// the tolerances, for backends that sum in an order of their own; `fp8_units`: and on FP8
// tensor cores.
inline Tally Compare(Backend& reference, Backend& backend, int32_t block_size,
                     const std::string& part = "", double slack = 1.0, bool fp8_units = false) {
  Tally tally;
  for (const OpCase& c : AllCases(block_size)) {
    if (c.name.find(part) == std::string::npos) continue;
    if (c.weights && !backend.ops().Supports(*c.weights)) {
      ++tally.skipped;
      continue;
    }
    SCOPED_TRACE(std::string(backend.ops().name()) + " " + c.name);
    const auto prepared = c.prepare(backend.ops());
    const std::vector<float> actual = RunOnce(*prepared);
    const std::vector<float> expected =
        backend.ops().name() == "ref" ? actual : RunOnce(*c.prepare(reference.ops()));
    EXPECT_EQ(expected.size(), actual.size());
    EXPECT_FALSE(HasPoison(actual)) << "an output element was not written";
    const double deviation = Deviation(actual, expected);
    const double bound = std::max(slack * c.tolerance, fp8_units ? c.fp8_unit_tolerance : 0.0);
    EXPECT_LE(deviation, bound) << c.reason;
    EXPECT_TRUE(SameBits(actual, RunOnce(*prepared))) << "a second run differs";
    EXPECT_TRUE(backend.ops().Finish().ok());
    ++tally.run;
  }
  return tally;
}

}  // namespace inferd::testing
