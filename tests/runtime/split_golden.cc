#include "split_golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>

#include "inferd/base/check.h"
#include "inferd/tensor/tensor.h"
#include "rank_group.h"
#include "tiny_checkpoint.h"

namespace inferd::testing {
namespace {

namespace fs = std::filesystem;

bool LacksLayers(const std::string& family, const ParallelShape& shape) {
  return shape.pp == 3 && family != "mistral" && family != "qwen3";
}

bool LacksHeads(const std::string& family, const ParallelShape& shape) {
  return shape.tp_rows == 4 && family == "llama3";
}

// Attention as of the second layer, the MLP and the norms as of the first.
void AddLayer(TinyCheckpoint& checkpoint) {
  INFERD_CHECK(checkpoint.config["num_hidden_layers"] == 2);
  checkpoint.config["num_hidden_layers"] = 3;
  const std::vector<TinyTensor> tensors = checkpoint.tensors;
  for (TinyTensor tensor : tensors) {
    const bool is_attention = tensor.name.find(".self_attn.") != std::string::npos;
    const std::string layer = is_attention ? "model.layers.1." : "model.layers.0.";
    if (tensor.name.rfind(layer, 0) != 0) continue;
    tensor.name.replace(0, layer.size(), "model.layers.2.");
    checkpoint.tensors.push_back(std::move(tensor));
  }
}

// Each query head twice, and what comes of it counted half, which is exact in BF16: the same
// function.
void DoubleHeads(TinyCheckpoint& checkpoint) {
  const auto heads = checkpoint.config["num_attention_heads"].get<size_t>();
  checkpoint.config["num_attention_heads"] = 2 * heads;
  for (TinyTensor& tensor : checkpoint.tensors) {
    const bool is_query = tensor.name.ends_with("self_attn.q_proj.weight");
    if (!is_query && !tensor.name.ends_with("self_attn.o_proj.weight")) continue;
    INFERD_CHECK(tensor.dtype == "BF16");
    std::string doubled;
    // Of q the rows of a head lie together, of o its part of every row.
    const size_t block =
        tensor.bytes.size() / heads / (is_query ? 1 : static_cast<size_t>(tensor.shape[0]));
    for (size_t at = 0; at < tensor.bytes.size(); at += block) {
      std::string head = tensor.bytes.substr(at, block);
      for (size_t i = 0; !is_query && i < block; i += sizeof(uint16_t)) {
        uint16_t value = 0;
        std::memcpy(&value, head.data() + i, sizeof(value));
        value = F32ToBF16(BF16ToF32(value) / 2);
        std::memcpy(head.data() + i, &value, sizeof(value));
      }
      doubled += head + head;
    }
    tensor.bytes = std::move(doubled);
    tensor.shape[is_query ? 0 : 1] *= 2;
  }
}

}  // namespace

bool IsRefused(const std::string& family, const ParallelShape& shape) {
  return LacksLayers(family, shape) || LacksHeads(family, shape);
}

const fs::path& SplittableDir(const std::string& family, const ParallelShape& shape) {
  using Key = std::tuple<std::string, bool, bool>;
  static std::map<Key, fs::path> dirs;
  static std::vector<std::unique_ptr<TempDir>> made;
  const bool lacks_layers = LacksLayers(family, shape);
  const bool lacks_heads = LacksHeads(family, shape);
  fs::path& dir = dirs[{family, lacks_layers, lacks_heads}];
  if (!dir.empty()) return dir;
  dir = GoldenDir(family);
  if (!lacks_layers && !lacks_heads) return dir;
  TinyCheckpoint checkpoint = ReadCheckpoint(dir);
  if (lacks_layers) AddLayer(checkpoint);
  if (lacks_heads) DoubleHeads(checkpoint);
  made.push_back(std::make_unique<TempDir>());
  dir = made.back()->path();
  checkpoint.Write(dir);
  return dir;
}

const std::vector<ExpectedPrompt>& SplittableExpected(const std::string& family,
                                                      const ParallelShape& shape) {
  static std::map<std::pair<std::string, bool>, std::vector<ExpectedPrompt>> all;
  const bool lacks_layers = LacksLayers(family, shape);
  std::vector<ExpectedPrompt>& expected = all[{family, lacks_layers}];
  if (!expected.empty()) return expected;
  expected = ReadExpected(GoldenDir(family));
  if (!lacks_layers) return expected;
  const Answer& one =
      AnswerInThreads(family, SplittableDir(family, shape), "cpu", ParallelShape{1, 1, 1});
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i].greedy = one.texts[i];
    const size_t last = expected[i].ids.size();
    expected[i].logits = {{static_cast<int32_t>(last) - 1, one.logits.at({i, last})}};
  }
  return expected;
}

const Answer& AnswerInThreads(const std::string& family, const fs::path& dir,
                              const std::string& backend, const ParallelShape& shape) {
  static std::map<std::tuple<fs::path, std::string, std::string>, Answer> answers;
  Answer& answer = answers[{dir, backend, ShapeName(shape)}];
  if (!answer.texts.empty()) return answer;
  RankGroup group(backend, shape);
  const Status started = group.Start(dir);
  INFERD_CHECK(started.ok());
  for (DrivenResult& result :
       group.driver().Run(GoldenPrompts(ReadExpected(GoldenDir(family)), kAnswerTokens), 19,
                          group.options.max_in_flight)) {
    answer.texts.push_back(std::move(result.tokens));
  }
  answer.logits = group.logits();
  return answer;
}

float LargestDifference(const Logits& wanted, const Logits& got) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float worst = wanted.empty() ? kInfinity : 0;
  for (const auto& [key, values] : wanted) {
    const auto it = got.find(key);
    if (it == got.end() || it->second.size() != values.size()) return kInfinity;
    for (size_t i = 0; i < values.size(); ++i) {
      const float difference = std::fabs(values[i] - it->second[i]);
      if (!(difference <= worst)) worst = std::isnan(difference) ? kInfinity : difference;
    }
  }
  return worst;
}

}  // namespace inferd::testing
