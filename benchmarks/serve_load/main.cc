// serve_load: offers load to a running daemon over gRPC, or to a server of
// /v1/completions, and tells what its clients feel. Open loop (--rate) or closed
// loop (--concurrency).
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "serve_load/grpc_target.h"
#include "serve_load/openai_target.h"
#include "serve_load/options.h"
#include "serve_load/report.h"
#include "serve_load/run.h"

namespace inferd::bench {
namespace {

// "64" or "16:256".
bool ParseRange(const std::string& text, Range* range) {
  const char* end = text.data() + text.size();
  auto [rest, code] = std::from_chars(text.data(), end, range->low);
  if (code != std::errc()) return false;
  range->high = range->low;
  if (rest != end) {
    if (*rest != ':') return false;
    const auto high = std::from_chars(rest + 1, end, range->high);
    if (high.ec != std::errc() || high.ptr != end) return false;
  }
  return range->low >= 1 && range->high >= range->low && range->high <= 1'000'000;
}

// The key as clients/ take it: not by a flag, which every user of the machine could read.
std::string KeyOfTheEnvironment() {
  const char* key = std::getenv("INFERD_API_KEY");
  return key == nullptr ? "" : key;
}

int Run(int argc, char** argv) {
  LoadOptions options;
  std::string prompt = "128";
  std::string output = "64";
  std::string tls_ca_file;
  CLI::App app("Offers load to a running inferd. INFERD_API_KEY is shown as the key if it is set",
               "serve_load");
  app.add_option("--addr", options.address, "Address of the daemon")->capture_default_str();
  app.add_option("--protocol", options.protocol, "grpc, or openai: HTTP, /v1/completions")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Protocol>{
          {"grpc", Protocol::kGrpc}, {"openai", Protocol::kOpenAi}}));
  app.add_option("--tls-ca", tls_ca_file, "PEM file with the authority to trust: speak TLS (grpc)");
  app.add_option("--model", options.model, "Which model; may be left out if there is one");
  auto* rate = app.add_option("--rate", options.rate, "Requests per second, Poisson (open loop)")
                   ->check(CLI::PositiveNumber);
  app.add_option("--concurrency", options.concurrency, "Requests in flight (closed loop)")
      ->check(CLI::Range(1, 100'000))
      ->excludes(rate);
  app.add_option("--requests", options.requests, "How many")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option("--prompt-tokens", prompt, "N or LOW:HIGH")->capture_default_str();
  app.add_option("--output-tokens", output, "N or LOW:HIGH")->capture_default_str();
  app.add_option("--shared-prefix", options.shared_prefix_tokens, "Equal first tokens of prompts")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--temperature", options.temperature)->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--timeout", options.timeout_s, "Seconds per request")->capture_default_str();
  app.add_option("--slo-ttft", options.slo_ttft_ms, "Objective, ms")->capture_default_str();
  app.add_option("--slo-itl", options.slo_itl_ms, "Objective for the mean gap, ms")
      ->capture_default_str();
  app.add_option("--json", options.json_file, "Write the summary there");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (!ParseRange(prompt, &options.prompt_tokens) || !ParseRange(output, &options.output_tokens)) {
    std::fprintf(stderr, "serve_load: --prompt-tokens and --output-tokens take N or LOW:HIGH\n");
    return 2;
  }
  if (options.rate == 0 && options.concurrency == 0) options.concurrency = 1;

  // A thread per request: not for any number of them.
  if (options.protocol == Protocol::kOpenAi && (options.rate > 0 || options.concurrency > 1024)) {
    std::fprintf(stderr, "serve_load: --protocol openai takes --concurrency up to 1024\n");
    return 2;
  }

  options.api_key = KeyOfTheEnvironment();
  if (!tls_ca_file.empty()) {
    if (options.protocol == Protocol::kOpenAi) {
      std::fprintf(stderr, "serve_load: --tls-ca goes with --protocol grpc alone\n");
      return 2;
    }
    std::ifstream file(tls_ca_file);
    options.tls_ca.assign(std::istreambuf_iterator<char>(file), {});
    if (options.tls_ca.empty()) {
      std::fprintf(stderr, "serve_load: cannot read %s\n", tls_ca_file.c_str());
      return 2;
    }
  }

  const std::unique_ptr<Target> target =
      options.protocol == Protocol::kOpenAi ? MakeOpenAiTarget(options) : MakeGrpcTarget(options);
  const StatusOr<int32_t> vocab_size = target->VocabSize();
  if (!vocab_size.ok() || *vocab_size < 2) {
    std::fprintf(stderr, "serve_load: no model at %s: %s\n", options.address.c_str(),
                 vocab_size.ok() ? "no vocabulary" : vocab_size.status().message().c_str());
    return 1;
  }
  const RunRecord run = RunLoad(options, *vocab_size, *target);
  const Summary summary = Summarise(options, run);
  std::fputs(FormatTable(options, summary).c_str(), stdout);
  if (!options.json_file.empty()) {
    std::ofstream file(options.json_file);
    file << FormatJson(options, summary);
    if (!file.flush()) {
      std::fprintf(stderr, "serve_load: cannot write %s\n", options.json_file.c_str());
      return 1;
    }
  }
  return summary.answered > 0 ? 0 : 1;
}

}  // namespace
}  // namespace inferd::bench

int main(int argc, char** argv) { return inferd::bench::Run(argc, argv); }
