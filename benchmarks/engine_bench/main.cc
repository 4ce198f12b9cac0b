// engine_bench: how fast the runtime computes prompts and goes on with streams,
// without scheduler, network or text. Prints JSON.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine_bench/read_bandwidth.h"
#include "engine_bench/step_driver.h"
#include "inferd/backends/backend.h"
#include "inferd/base/clock.h"
#include "inferd/runtime/rank.h"
#include "nlohmann/json.hpp"

namespace inferd::bench {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::string model;
  std::string backend = "auto";
  int threads = 0;
  std::vector<int32_t> prefill;  // prompt lengths
  std::vector<int32_t> streams;  // decode, at each number of streams
  int32_t context = 128;         // tokens of each stream before decode
  int32_t tokens = 64;           // decoded per stream
  int32_t repeats = 1;
  int32_t max_batched_tokens = 512;
  bool kv_f32 = false;
  std::string activations = "f32";
  size_t bandwidth_mib = 0;  // 0: do not measure
  uint64_t seed = 1;
};

std::vector<std::vector<TokenId>> RandomPrompts(int32_t streams, int32_t length, int32_t vocab_size,
                                                std::mt19937_64* random) {
  std::uniform_int_distribution<TokenId> token(std::min(256, vocab_size / 2), vocab_size - 1);
  std::vector<std::vector<TokenId>> prompts(static_cast<size_t>(streams));
  for (std::vector<TokenId>& prompt : prompts) {
    prompt.resize(static_cast<size_t>(length));
    for (TokenId& id : prompt) id = token(*random);
  }
  return prompts;
}

ordered_json CaseJson(const char* name, int32_t streams, int32_t context, int32_t tokens,
                      const std::vector<double>& seconds) {
  ordered_json rates = ordered_json::array();
  const double total = static_cast<double>(streams) * tokens;
  for (const double s : seconds) rates.push_back(total / std::max(s, 1e-9));
  return {{"case", name},     {"streams", streams}, {"context", context},
          {"tokens", tokens}, {"seconds", seconds}, {"tokens_per_second", std::move(rates)}};
}

StatusOr<ordered_json> RunCases(const Arguments& arguments) {
  BackendOptions backend_options;
  backend_options.threads = arguments.threads;
  backend_options.activations = arguments.activations == "auto"   ? Activations::kAuto
                                : arguments.activations == "bf16" ? Activations::kBF16
                                                                  : Activations::kF32;
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                          CreateBackend(arguments.backend, backend_options));
  const auto most = [](const std::vector<int32_t>& values) {
    return values.empty() ? 1 : *std::max_element(values.begin(), values.end());
  };
  const int32_t longest =
      std::max(most(arguments.prefill), arguments.context + arguments.tokens) + 1;
  const int32_t streams = most(arguments.streams);
  RankOptions options;
  options.model_dir = arguments.model;
  options.memory.max_model_len = longest;
  options.memory.max_running = streams;
  options.memory.max_batched_tokens = arguments.max_batched_tokens;
  options.memory.kv_dtype = arguments.kv_f32 ? DType::kF32 : DType::kBF16;
  const int32_t block_size = options.memory.block_size;
  options.memory.num_blocks = 1 + streams * ((longest + block_size - 1) / block_size);
  const SystemClock clock;
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<LocalExecutor> executor,
                          StartLocalExecutor(options, backend->ops(), clock, nullptr));
  const RankInfo& info = executor->info();
  StepDriver driver(*executor, {streams, arguments.max_batched_tokens, block_size,
                                info.memory.num_blocks, executor->max_in_flight()});
  std::mt19937_64 random(arguments.seed);
  const auto seconds_since = [&clock](int64_t start_us) {
    return static_cast<double>(clock.NowUs() - start_us) * 1e-6;
  };

  ordered_json cases = ordered_json::array();
  for (const int32_t length : arguments.prefill) {
    std::vector<double> seconds;
    for (int32_t r = -1; r < arguments.repeats; ++r) {  // -1: not counted
      const auto prompts = RandomPrompts(1, length, info.config.vocab_size, &random);
      const int64_t start_us = clock.NowUs();
      INFERD_RETURN_IF_ERROR(driver.Prefill(prompts));
      if (r >= 0) seconds.push_back(seconds_since(start_us));
    }
    cases.push_back(CaseJson("prefill", 1, 0, length, seconds));
  }
  for (const int32_t count : arguments.streams) {
    std::vector<double> seconds;
    for (int32_t r = 0; r < arguments.repeats; ++r) {
      INFERD_RETURN_IF_ERROR(
          driver.Prefill(RandomPrompts(count, arguments.context, info.config.vocab_size, &random)));
      const int64_t start_us = clock.NowUs();
      INFERD_RETURN_IF_ERROR(driver.Decode(arguments.tokens));
      seconds.push_back(seconds_since(start_us));
    }
    cases.push_back(CaseJson("decode", count, arguments.context, arguments.tokens, seconds));
  }
  return ordered_json{{"device", backend->Description()},
                      {"weight_bytes", info.memory.weight_bytes},
                      {"load_seconds", static_cast<double>(info.load_us) * 1e-6},
                      {"cases", std::move(cases)}};
}

int Run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Measures prompts and decode on this machine", "engine_bench");
  const auto positive = CLI::Range(1, 1'000'000);
  app.add_option("--model", arguments.model, "Directory of a checkpoint");
  app.add_option("--backend", arguments.backend)->capture_default_str();
  app.add_option("--threads", arguments.threads, "0: what the process may use")
      ->check(CLI::Range(0, 1024));
  app.add_option("--prefill", arguments.prefill, "Prompt lengths")->delimiter(',')->check(positive);
  app.add_option("--decode", arguments.streams, "Numbers of streams")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  app.add_option("--context", arguments.context, "Tokens before decode")->check(positive);
  app.add_option("--tokens", arguments.tokens, "Decoded per stream")->check(positive);
  app.add_option("--repeats", arguments.repeats)->check(CLI::Range(1, 1000));
  app.add_option("--max-batched-tokens", arguments.max_batched_tokens)->check(positive);
  app.add_option("--activations", arguments.activations, "As model.activations")
      ->check(CLI::IsMember({"f32", "bf16", "auto"}));
  app.add_flag("--kv-f32", arguments.kv_f32, "Keep keys and values in f32, not bf16");
  app.add_option("--bandwidth-mib", arguments.bandwidth_mib, "Also read this much memory")
      ->check(CLI::Range(64, 1 << 20));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  ordered_json out = ordered_json::object();
  if (arguments.bandwidth_mib > 0) {
    out["read_bytes_per_second"] =
        MeasureReadBandwidth(arguments.bandwidth_mib << 20, std::max(arguments.threads, 1), 3);
  }
  if (!arguments.model.empty()) {
    const StatusOr<ordered_json> cases = RunCases(arguments);
    if (!cases.ok()) {
      std::fprintf(stderr, "engine_bench: %s\n", cases.status().ToString().c_str());
      return 1;
    }
    out.update(*cases);
  }
  std::printf("%s\n", out.dump(2).c_str());
  return 0;
}

}  // namespace
}  // namespace inferd::bench

int main(int argc, char** argv) { return inferd::bench::Run(argc, argv); }
