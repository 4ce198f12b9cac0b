#include "runtime/chaos/record.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace inferd::testing {
namespace {

struct Sum {
  int accepted = 0;
  int whole = 0;
  uint64_t losses = 0;
  uint64_t resumed = 0;
  std::vector<double> back_after;

  void Add(const ChaosOutcome& outcome) {
    accepted += outcome.accepted;
    whole += outcome.whole;
    losses += outcome.losses;
    resumed += outcome.resumed;
    if (outcome.losses > 0 && outcome.back_after >= 0) back_after.push_back(outcome.back_after);
  }
  std::string Text(size_t cases) {
    char text[200];
    std::snprintf(text, sizeof(text), "%zu | %llu | %d | %.1f %% | %llu |", cases,
                  static_cast<unsigned long long>(losses), accepted,
                  100.0 * whole / std::max(1, accepted), static_cast<unsigned long long>(resumed));
    std::string line = text;
    if (back_after.empty()) return line + " | |";
    std::sort(back_after.begin(), back_after.end());
    std::snprintf(text, sizeof(text), " %.2f | %.2f |", back_after[back_after.size() / 2],
                  back_after.back());
    return line + text;
  }
};

}  // namespace

bool AllCases() { return std::getenv("INFERD_CHAOS_ALL") != nullptr; }

uint64_t ChaosSeed() {
  const char* const seed = std::getenv("INFERD_CHAOS_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

void ChaosRecord::Add(const std::string& where, const std::string& fault,
                      const ChaosOutcome& outcome) {
  const Row row(where, fault);
  auto at = std::find_if(rows_.begin(), rows_.end(), [&](const auto& r) { return r.first == row; });
  if (at == rows_.end()) at = rows_.insert(rows_.end(), {row, {}});
  at->second.push_back(outcome);
}

void ChaosRecord::AddReason(const std::string& reason, const std::string& what) {
  reasons_[reason].push_back(what);
}

void ChaosRecord::TearDown() {
  const char* const path = std::getenv("INFERD_CHAOS_RECORD");
  if (path == nullptr || rows_.empty()) return;
  FILE* const file = std::fopen(path, "a");
  ASSERT_NE(file, nullptr);
  std::fprintf(
      file,
      "\n## %s, seed %llu\n\n"
      "| where | fault | cases | losses | streams | whole | resumed | back after, s: median"
      " | most |\n|---|---|---|---|---|---|---|---|---|\n",
      title_.c_str(), static_cast<unsigned long long>(ChaosSeed()));
  Sum all;
  size_t cases = 0;
  for (const auto& [row, outcomes] : rows_) {
    Sum sum;
    for (const ChaosOutcome& outcome : outcomes) sum.Add(outcome);
    for (const ChaosOutcome& outcome : outcomes) all.Add(outcome);
    cases += outcomes.size();
    std::fprintf(file, "| %s | %s | %s\n", row.first.c_str(), row.second.c_str(),
                 sum.Text(outcomes.size()).c_str());
  }
  std::fprintf(file, "| all | | %s\n", all.Text(cases).c_str());
  for (const auto& [reason, cells] : reasons_) {
    std::fprintf(file, "\nNot tried, because %s:", reason.c_str());
    for (size_t i = 0; i < cells.size(); ++i) {
      std::fprintf(file, "%s %s", i == 0 ? "" : ",", cells[i].c_str());
    }
    std::fprintf(file, ".\n");
  }
  std::fclose(file);
}

}  // namespace inferd::testing
