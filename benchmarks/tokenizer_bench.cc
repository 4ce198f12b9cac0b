// Tokenizer throughput: bytes of text per second on one thread, and what it takes to
// load one.
//   tokenizer_bench [directory with tokenizer.json]...
// Without arguments, the golden tokenizers.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/text/detokenizer.h"
#include "inferd/text/tokenizer.h"
#include "support/source_dir.h"

namespace inferd {
namespace {

// Prose-like text: words of this repository's prose by Zipf's law.
std::string EnglishText(size_t bytes) {
  std::ifstream file(SourceDir() / "README.md");
  std::vector<std::string> words = {"the",  "of",       "and",       "to",      "model", "a",
                                    "in",   "tokens",   "is",        "request", "that",  "block",
                                    "with", "sequence", "scheduler", "not",     "cache", "memory"};
  for (std::string word; file >> word;) words.push_back(word);
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::string text;
  while (text.size() < bytes) {
    const double u = uniform(random);
    text += words[static_cast<size_t>(u * u * static_cast<double>(words.size()))];
    text += random() % 12 == 0 ? ".\n" : " ";
  }
  return text;
}

std::string Repeated(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

void BM_Load(benchmark::State& state, const std::filesystem::path& directory) {
  for (auto _ : state) {
    auto tokenizer = Tokenizer::Load(directory, TokenizerLimits{});
    if (!tokenizer.ok()) {
      state.SkipWithError(tokenizer.status().ToString().c_str());
      return;
    }
    benchmark::DoNotOptimize(tokenizer->get());
  }
}

void BM_Encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TextSegment> segments = {{text, /*trusted=*/false}};
  size_t tokens = 0;
  for (auto _ : state) {
    auto ids = tokenizer.Encode(segments, /*add_special_tokens=*/false);
    if (!ids.ok()) {
      state.SkipWithError(ids.status().ToString().c_str());
      return;
    }
    tokens = ids->size();
    benchmark::DoNotOptimize(ids->data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["tokens"] = static_cast<double>(tokens);
}

void BM_Detokenize(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TextSegment> segments = {{text, /*trusted=*/false}};
  auto ids = tokenizer.Encode(segments, /*add_special_tokens=*/false);
  if (!ids.ok()) {
    state.SkipWithError(ids.status().ToString().c_str());
    return;
  }
  for (auto _ : state) {
    IncrementalDetokenizer detokenizer(tokenizer, /*skip_special_tokens=*/true,
                                       /*at_sequence_start=*/true);
    for (const TokenId id : *ids) benchmark::DoNotOptimize(detokenizer.Push(id));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * ids->size()));
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<std::filesystem::path> directories(argv + 1, argv + argc);
  if (directories.empty()) {
    const auto root = inferd::SourceDir() / "tests/golden/tokenizers";
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (std::filesystem::exists(entry.path() / "tokenizer.json")) {
        directories.push_back(entry.path());
      }
    }
    std::sort(directories.begin(), directories.end());
  }
  constexpr size_t kBytes = 1 << 20;
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"english", inferd::EnglishText(kBytes)},
      {"one_letter", inferd::Repeated("a", kBytes)},
      {"spaces", inferd::Repeated(" ", kBytes)},
      {"han", inferd::Repeated("快速的棕色狐狸", kBytes)}};
  std::vector<std::unique_ptr<const inferd::Tokenizer>> tokenizers;
  for (const auto& directory : directories) {
    auto tokenizer = inferd::Tokenizer::Load(directory, inferd::TokenizerLimits{});
    if (!tokenizer.ok()) {
      std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
      return 1;
    }
    tokenizers.push_back(*std::move(tokenizer));
    const inferd::Tokenizer& t = *tokenizers.back();
    const std::string name = directory.filename().string();
    benchmark::RegisterBenchmark(("Load/" + name).c_str(), inferd::BM_Load, directory)
        ->Unit(benchmark::kMillisecond);
    for (const auto& [label, text] : texts) {
      benchmark::RegisterBenchmark(("Encode/" + name + "/" + label).c_str(), inferd::BM_Encode,
                                   std::cref(t), std::cref(text))
          ->Unit(benchmark::kMillisecond);
    }
    benchmark::RegisterBenchmark(("Detokenize/" + name + "/english").c_str(), inferd::BM_Detokenize,
                                 std::cref(t), std::cref(texts[0].second))
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
