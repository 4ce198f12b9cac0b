#pragma once

#include <cstdint>

namespace inferd {

// What one request may ask for: configured by the operator, enforced by the front
// end. Plain data; docs/configuration.md is generated from these defaults.
struct RequestLimits {
  int32_t max_n = 8;
  int32_t max_top_logprobs = 20;
  int32_t max_logit_bias = 300;
  int32_t max_stop_strings = 4;
  int32_t max_stop_string_bytes = 256;
  int32_t max_stop_token_ids = 64;
  int32_t max_messages = 2048;
  int32_t max_parts = 256;
  int32_t max_tools = 128;
  int64_t max_tools_bytes = 256 << 10;
  int64_t max_text_bytes = 8 << 20;
  int64_t max_kwargs_bytes = 16 << 10;
  int64_t default_deadline_ms = 600'000;  // when the client sets none
  int64_t max_deadline_ms = 3'600'000;
};

}  // namespace inferd
