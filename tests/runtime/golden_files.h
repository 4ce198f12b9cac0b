// The small checkpoints of tests/golden and what transformers computes with them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "inferd/backends/backend.h"
#include "nlohmann/json.hpp"
#include "plan_driver.h"
#include "support/fussy_backend.h"
#include "support/source_dir.h"

namespace inferd::testing {

inline std::filesystem::path GoldenDir(const std::string& family) {
  return SourceDir() / "tests/golden" / family;
}

struct ExpectedPrompt {
  std::vector<TokenId> ids;
  std::vector<TokenId> greedy;
  std::vector<std::pair<int32_t, std::vector<float>>> logits;  // position, values
};

inline std::vector<ExpectedPrompt> ReadExpected(const std::filesystem::path& dir) {
  std::ifstream file(dir / "expected.json");
  const nlohmann::json root = nlohmann::json::parse(file);
  std::vector<ExpectedPrompt> prompts;
  for (const auto& p : root.at("prompts")) {
    ExpectedPrompt e;
    e.ids = p.at("ids").get<std::vector<TokenId>>();
    e.greedy = p.at("greedy").get<std::vector<TokenId>>();
    for (const auto& l : p.at("logits")) {
      e.logits.emplace_back(l.at("position").get<int32_t>(),
                            l.at("values").get<std::vector<float>>());
    }
    prompts.push_back(std::move(e));
  }
  return prompts;
}

// The prompts of a family, to be answered greedily; the nth has seed n.
inline std::vector<DrivenPrompt> GoldenPrompts(const std::vector<ExpectedPrompt>& expected,
                                               int32_t max_new) {
  std::vector<DrivenPrompt> prompts;
  for (const ExpectedPrompt& e : expected) {
    DrivenPrompt p;
    p.prompt = e.ids;
    p.sampling.temperature = 0.0F;
    p.sampling.seed = prompts.size();
    p.max_new = std::min(max_new, static_cast<int32_t>(e.greedy.size()));
    prompts.push_back(std::move(p));
  }
  return prompts;
}

// "cpu_bf16" is cpu with activations rounded to bf16.
inline bool RoundsToBF16(const std::string& name) { return name.ends_with("_bf16"); }

// Null when the build has no such backend.
inline std::unique_ptr<Backend> MakeTestBackend(const std::string& name, int threads = 2) {
  if (name == "fussy") return std::make_unique<FussyBackend>();
  BackendOptions options;
  options.threads = threads;
  if (RoundsToBF16(name)) options.activations = Activations::kBF16;
  auto backend = CreateBackend(name.substr(0, name.find('_')), options);
  return backend.ok() ? std::move(backend).value() : nullptr;
}

// The folders of tests/golden that hold a checkpoint.
inline std::vector<std::string> GoldenFamilies() {
  std::vector<std::string> names;
  std::error_code error;
  namespace fs = std::filesystem;
  const fs::path root = GoldenDir("");
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (fs::exists(entry.path() / "expected.json", error) &&
        fs::exists(entry.path() / "config.json", error)) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace inferd::testing
