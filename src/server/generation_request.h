// A validated generation request, the same for every protocol and both kinds of
// prompt. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/plan/request_spec.h"
#include "nlohmann/json.hpp"

namespace inferd {

// What the answer is made from; exactly one of the three kinds.
struct ChatPrompt {
  nlohmann::ordered_json messages;  // array of {role, content, ...}
  nlohmann::ordered_json kwargs;    // object of template variables
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

struct GenerationRequest {
  std::optional<ChatPrompt> chat;
  std::optional<std::string> text;        // completion of a text
  std::vector<TokenId> token_ids;         // completion of tokens, when neither is set
  bool echo = false;                      // completions only
  std::string prompt_field = "messages";  // what the client calls the prompt, for errors

  int32_t num_choices = 1;
  SamplingParams sampling;  // without seed, min_tokens, banned_until_min
  std::optional<uint64_t> seed;
  int32_t min_tokens = 0;
  std::optional<int32_t> max_new_tokens;  // unset: see `default_max_new_tokens`
  int32_t default_max_new_tokens = 0;     // 0: the rest of the context
  std::vector<std::string> stop_strings;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop_in_output = false;
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  int32_t priority = 0;
  std::optional<std::string> cache_salt;
  std::optional<int64_t> time_limit_ms;  // partial answer when it passes

  int32_t stream_interval = 1;    // tokens per chunk
  bool include_usage = true;      // streams: a last chunk with usage
  bool continuous_usage = false;  // streams: usage in every chunk
};

}  // namespace inferd
