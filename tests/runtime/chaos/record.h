// What came of all cases of a run, as a table.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/chaos/chaos_run.h"

namespace inferd::testing {

// INFERD_CHAOS_ALL=1: every case, else those that fit into every run.
bool AllCases();
// INFERD_CHAOS_SEED: other ranks and other moments.
uint64_t ChaosSeed();

// Rows in the order in which they came first. At the end of the tests it is written to the file
// that INFERD_CHAOS_RECORD names, if any, behind what is there.
class ChaosRecord final : public ::testing::Environment {
 public:
  explicit ChaosRecord(std::string title) : title_(std::move(title)) {}
  // The cases' outcome, and what is not tried and why.
  void Add(const std::string& where, const std::string& fault, const ChaosOutcome& outcome);
  void AddReason(const std::string& reason, const std::string& what);
  void TearDown() override;

 private:
  using Row = std::pair<std::string, std::string>;
  const std::string title_;
  std::vector<std::pair<Row, std::vector<ChaosOutcome>>> rows_;
  std::map<std::string, std::vector<std::string>> reasons_;
};

}  // namespace inferd::testing
