// How good a checkpoint's answers are: exact answers and perplexity on questions
// with known answers, through the same model, ops and KV cache as the daemon.
//
//   quality_bench --model models/demo --questions tools/demo_model/heldout.jsonl
//
// Prints one JSON object. An answer counts as exact when the greedy one equals the
// known one but for space around it. Perplexity is that of the known answers (the
// token that ends them included), given the conversation before.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "inferd/backends/backend.h"
#include "inferd/model/memory_plan.h"
#include "inferd/model/model.h"
#include "inferd/ops/solo_step.h"
#include "inferd/text/chat_template.h"
#include "inferd/text/tokenizer.h"
#include "inferd/text/tokenizer_config.h"
#include "nlohmann/json.hpp"

namespace inferd {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kMostRows = 64;  // of a step

struct Options {
  std::string model;
  std::string questions;
  std::string kv_dtype = "bf16";
  std::string backend = "cpu";
  int threads = 0;
  int max_tokens = 64;
};

DType KvDType(const std::string& name) {
  if (name == "f32") return DType::kF32;
  if (name == "fp8") return DType::kF8E4M3;
  return name == "int8" ? DType::kI8 : DType::kBF16;
}

// One sequence at a time on a model.
class Reader {
 public:
  static StatusOr<std::unique_ptr<Reader>> Create(const Options& options, Ops& ops) {
    auto reader = std::unique_ptr<Reader>(new Reader(ops));
    INFERD_ASSIGN_OR_RETURN(reader->config_, LoadModelConfig(options.model));
    INFERD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(options.model));
    const ModelConfig& config = reader->config_;
    reader->max_len_ = std::min(config.max_context, 4096);
    std::vector<std::string> notes;
    MemoryRequest request;
    request.max_model_len = reader->max_len_;
    request.max_running = 1;
    INFERD_RETURN_IF_ERROR(PlanMemory(config, checkpoint, ops, request, &notes).status());
    const StepLimits limits{kMostRows, kMostRows, reader->max_len_};
    INFERD_ASSIGN_OR_RETURN(reader->model_, LoadModel(config, std::move(checkpoint), limits, ops));
    INFERD_ASSIGN_OR_RETURN(reader->workspace_,
                            Workspace::Create(WholeModel(config), limits, ops.allocator()));
    const int64_t scratch =
        ops.ScratchBytes(kMostRows, 1, MaxFeatures(WholeModel(config)), config.vocab_size);
    INFERD_ASSIGN_OR_RETURN(reader->scratch_,
                            Buffer::Create(ops.allocator(), static_cast<size_t>(scratch)));
    ops.SetScratch(TensorView(reader->scratch_.data(), DType::kU8, {scratch}));
    const KvLayerSpec spec{config.num_kv_heads, config.head_dim, kBlockSize,
                           KvDType(options.kv_dtype)};
    const int32_t blocks = (reader->max_len_ + kBlockSize - 1) / kBlockSize + 1;
    for (int32_t i = 0; i < config.num_layers; ++i) {
      const auto bytes = static_cast<size_t>(ops.KvBytesPerBlock(spec) * blocks);
      INFERD_ASSIGN_OR_RETURN(reader->caches_.emplace_back(),
                              Buffer::Create(ops.allocator(), bytes));
      std::fill_n(reader->caches_.back().data(), bytes, std::byte{0});
      reader->kv_.push_back({reader->caches_.back().data(), blocks, spec});
    }
    reader->plan_ = ops.MakeStepPlan(kMostRows, 1, blocks);
    return reader;
  }

  const ModelConfig& config() const { return config_; }
  int32_t max_len() const { return max_len_; }

  // The logits [vocab] after each of `tokens`, which follow `position` tokens.
  template <typename Each>
  Status Read(std::span<const TokenId> tokens, int32_t position, Each each) {
    for (size_t at = 0; at < tokens.size(); at += kMostRows) {
      const auto part = tokens.subspan(at, std::min<size_t>(kMostRows, tokens.size() - at));
      const auto count = static_cast<int32_t>(part.size());
      std::vector<int32_t> sampled(part.size());
      std::iota(sampled.begin(), sampled.end(), 0);
      ops_.PlanStep(SoloStep(part, position, kBlockSize, std::move(sampled)).inputs(), plan_.get());
      INFERD_ASSIGN_OR_RETURN(const TensorView logits,
                              model_->Forward(ops_, *plan_, kv_, workspace_));
      INFERD_RETURN_IF_ERROR(ops_.Finish());
      for (int32_t i = 0; i < count; ++i) {
        each(position + i, logits.As<const float>() + int64_t{i} * config_.vocab_size);
      }
      position += count;
    }
    return OkStatus();
  }

 private:
  explicit Reader(Ops& ops) : ops_(ops) {}
  Ops& ops_;
  ModelConfig config_;
  int32_t max_len_ = 0;
  std::unique_ptr<Model> model_;
  Workspace workspace_;
  Buffer scratch_;
  std::vector<Buffer> caches_;
  std::vector<KvLayerView> kv_;
  std::unique_ptr<StepPlan> plan_;
};

// -log p(token) under `logits`.
double Surprise(const float* logits, int32_t vocab, TokenId token) {
  const double most = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int32_t i = 0; i < vocab; ++i) sum += std::exp(logits[i] - most);
  return std::log(sum) + most - logits[token];
}

std::string Stripped(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

struct Score {
  int asked = 0;
  int exact = 0;
  int64_t tokens = 0;
  double surprise = 0;
};

// What a question becomes.
struct Prompt {
  std::vector<TokenId> tokens;
  std::vector<TokenId> with_answer;  // begins with `tokens`
  std::string answer;
};

class Questioner {
 public:
  static StatusOr<Questioner> Create(const std::string& dir) {
    Questioner questioner;
    INFERD_ASSIGN_OR_RETURN(questioner.tokenizer_, Tokenizer::Load(dir, TokenizerLimits{}));
    INFERD_ASSIGN_OR_RETURN(questioner.strings_, LoadTokenizerConfig(dir));
    INFERD_ASSIGN_OR_RETURN(
        questioner.template_,
        ChatTemplate::Compile(questioner.strings_.chat_template, ChatTemplateLimits{}));
    return questioner;
  }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  StatusOr<Prompt> Build(const nlohmann::ordered_json& question) const {
    ChatTemplate::Options options;
    options.bos_token = strings_.bos_token;
    options.eos_token = strings_.eos_token;
    Prompt prompt;
    prompt.answer = question.at("answer").get<std::string>();
    INFERD_ASSIGN_OR_RETURN(RenderedPrompt text,
                            template_->Render(question.at("messages"), nullptr,
                                              nlohmann::ordered_json::object(), options));
    INFERD_ASSIGN_OR_RETURN(prompt.tokens, tokenizer_->Encode(text, false));
    text.push_back({prompt.answer, false});
    text.push_back({strings_.eos_token, true});
    INFERD_ASSIGN_OR_RETURN(prompt.with_answer, tokenizer_->Encode(text, false));
    const bool prefix =
        prompt.with_answer.size() > prompt.tokens.size() &&
        std::equal(prompt.tokens.begin(), prompt.tokens.end(), prompt.with_answer.begin());
    if (!prefix) return FailedPreconditionError("the answer changes the tokens of its question");
    return prompt;
  }

 private:
  std::unique_ptr<const Tokenizer> tokenizer_;
  TokenizerConfig strings_;
  std::unique_ptr<const ChatTemplate> template_;
};

Status Ask(const Options& options, Reader& reader, const Questioner& questioner,
           const std::vector<TokenId>& ends, const Prompt& prompt, Score* score) {
  const int32_t vocab = reader.config().vocab_size;
  if (static_cast<int>(prompt.with_answer.size()) + options.max_tokens > reader.max_len()) {
    return FailedPreconditionError("a question is too long");
  }
  const auto first = static_cast<int32_t>(prompt.tokens.size()) - 1;
  INFERD_RETURN_IF_ERROR(reader.Read(
      std::span(prompt.with_answer).first(prompt.with_answer.size() - 1), 0,
      [&](int32_t position, const float* logits) {
        if (position < first) return;
        score->surprise +=
            Surprise(logits, vocab, prompt.with_answer[static_cast<size_t>(position) + 1]);
        ++score->tokens;
      }));
  TokenId next = 0;
  const auto take = [&](int32_t, const float* logits) {
    next = static_cast<TokenId>(std::max_element(logits, logits + vocab) - logits);
  };
  INFERD_RETURN_IF_ERROR(reader.Read(prompt.tokens, 0, take));
  std::vector<TokenId> answer;
  auto position = static_cast<int32_t>(prompt.tokens.size());
  while (std::find(ends.begin(), ends.end(), next) == ends.end() &&
         static_cast<int>(answer.size()) < options.max_tokens) {
    answer.push_back(next);
    INFERD_RETURN_IF_ERROR(reader.Read({&answer.back(), 1}, position++, take));
  }
  ++score->asked;
  score->exact += Stripped(questioner.tokenizer().Decode(answer, true)) == prompt.answer;
  return OkStatus();
}

Status Run(const Options& options) {
  BackendOptions backend_options;
  backend_options.threads = options.threads;
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                          CreateBackend(options.backend, backend_options));
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<Reader> reader,
                          Reader::Create(options, backend->ops()));
  INFERD_ASSIGN_OR_RETURN(const Questioner questioner, Questioner::Create(options.model));
  INFERD_ASSIGN_OR_RETURN(const GenerationDefaults generation,
                          LoadGenerationDefaults(options.model, reader->config().vocab_size));
  const std::vector<TokenId> ends = EndTokens(reader->config(), generation);
  std::ifstream file(options.questions);
  Score score;
  const auto start = std::chrono::steady_clock::now();
  for (std::string line; std::getline(file, line);) {
    const auto question = nlohmann::ordered_json::parse(line);
    INFERD_ASSIGN_OR_RETURN(const Prompt prompt, questioner.Build(question));
    INFERD_RETURN_IF_ERROR(Ask(options, *reader, questioner, ends, prompt, &score));
  }
  if (score.asked == 0) return NotFoundError("no questions in " + options.questions);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  INFERD_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(options.model));
  const nlohmann::ordered_json result = {
      {"model", options.model},
      {"kv_cache", options.kv_dtype},
      {"bytes", checkpoint.TotalBytes()},
      {"exact", score.exact},
      {"asked", score.asked},
      {"perplexity", std::exp(score.surprise / static_cast<double>(score.tokens))},
      {"tokens", score.tokens},
      {"seconds", seconds.count()}};
  std::cout << result.dump() << std::endl;
  return OkStatus();
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) {
  CLI::App app("Scores a checkpoint's answers");
  inferd::Options options;
  app.add_option("--model", options.model)->required();
  app.add_option("--questions", options.questions, "Lines of {messages, answer}")->required();
  app.add_option("--kv-dtype", options.kv_dtype)
      ->check(CLI::IsMember({"f32", "bf16", "int8", "fp8"}))
      ->capture_default_str();
  app.add_option("--backend", options.backend)->capture_default_str();
  app.add_option("--threads", options.threads)->capture_default_str();
  app.add_option("--max-tokens", options.max_tokens)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    const inferd::Status status = inferd::Run(options);
    if (status.ok()) return 0;
    std::cerr << "quality_bench: " << status.message() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "quality_bench: " << error.what() << "\n";
  }
  return 1;
}
