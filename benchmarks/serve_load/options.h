#pragma once

#include <cstdint>
#include <string>

namespace inferd::bench {

// Both ends included.
struct Range {
  int32_t low = 0;
  int32_t high = 0;
};

enum class Protocol : uint8_t { kGrpc, kOpenAi };

// What load to offer. Exactly one of `rate` and `concurrency` is set.
struct LoadOptions {
  std::string address = "localhost:50051";
  Protocol protocol = Protocol::kGrpc;
  std::string api_key;      // empty: none is shown
  std::string tls_ca;       // PEM text; empty: no TLS. kGrpc alone
  std::string model;        // empty: the only one
  double rate = 0;          // requests per second, Poisson arrivals (open loop)
  int32_t concurrency = 0;  // requests always in flight (closed loop)
  int32_t requests = 100;
  Range prompt_tokens{128, 128};
  Range output_tokens{64, 64};
  int32_t shared_prefix_tokens = 0;  // of each prompt, equal in all of them
  double temperature = 1.0;
  uint64_t seed = 1;
  double timeout_s = 600;
  double slo_ttft_ms = 500;
  double slo_itl_ms = 50;
  std::string json_file;  // empty: none
};

}  // namespace inferd::bench
