// The fields that chat and completion requests share, read from either message:
// both have them under the same names.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "server/errors.h"
#include "server/field_checker.h"
#include "server/validate.h"

namespace inferd {

// Below this a temperature means greedy: 1/t would not be a useful number.
inline constexpr float kGreedyBelow = 1e-5F;
inline constexpr size_t kMaxCacheSaltBytes = 256;

// logit_bias as sorted pairs.
template <typename Map>
void ReadLogitBias(const Map& bias, const ValidationContext& context, FieldChecker* check,
                   SamplingParams* sampling) {
  const auto limit = static_cast<size_t>(context.limits.max_logit_bias);
  check->Require(bias.size() <= limit, "logit_bias",
                 "must have at most " + std::to_string(limit) + " entries");
  if (!check->ok()) return;
  for (const auto& [id, value] : bias) {
    const std::string field = "logit_bias[" + std::to_string(id) + "]";
    if (id >= static_cast<uint32_t>(context.model.vocab_size)) {
      check->Merge(InvalidTokenId(field, id, context.model.vocab_size));
      return;
    }
    float checked = 0;
    check->Number(field, true, value, -100.0F, 100.0F, "[-100, 100]", &checked);
    sampling->logit_bias.emplace_back(static_cast<TokenId>(id), checked);
  }
  std::sort(sampling->logit_bias.begin(), sampling->logit_bias.end());
}

template <typename Strings>
void ReadStops(const Strings& stops, const ValidationContext& context, FieldChecker* check,
               GenerationRequest* out) {
  check->Require(
      stops.size() <= context.limits.max_stop_strings, "stop",
      "must have at most " + std::to_string(context.limits.max_stop_strings) + " strings");
  const auto longest = static_cast<size_t>(context.limits.max_stop_string_bytes);
  for (int i = 0; check->ok() && i < stops.size(); ++i) {
    check->Require(!stops.Get(i).empty() && stops.Get(i).size() <= longest,
                   "stop[" + std::to_string(i) + "]",
                   "must have 1 to " + std::to_string(longest) + " bytes");
    out->stop_strings.push_back(stops.Get(i));
  }
}

template <typename Request>
void ReadSampling(const Request& r, const ValidationContext& context, FieldChecker* check,
                  SamplingParams* s) {
  s->temperature = context.model.defaults.temperature;
  s->top_p = context.model.defaults.top_p;
  s->top_k = context.model.defaults.top_k;
  s->repetition_penalty = context.model.defaults.repetition_penalty;
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();
  // clang-format off
  check->Number("temperature", r.has_temperature(), r.temperature(), 0.0F, 2.0F, "[0, 2]", &s->temperature);
  check->Number("top_p", r.has_top_p(), r.top_p(), kSmallest, 1.0F, "(0, 1]", &s->top_p);
  check->Number("top_k", r.has_top_k(), r.top_k(), -1, kMaxInt, "[-1, 2147483647]", &s->top_k);
  check->Number("min_p", r.has_min_p(), r.min_p(), 0.0F, 1.0F, "[0, 1]", &s->min_p);
  check->Number("repetition_penalty", r.has_repetition_penalty(), r.repetition_penalty(), 0.01F, 100.0F, "[0.01, 100]", &s->repetition_penalty);
  check->Number("presence_penalty", r.has_presence_penalty(), r.presence_penalty(), -2.0F, 2.0F, "[-2, 2]", &s->presence_penalty);
  check->Number("frequency_penalty", r.has_frequency_penalty(), r.frequency_penalty(), -2.0F, 2.0F, "[-2, 2]", &s->frequency_penalty);
  // clang-format on
  if (s->temperature < kGreedyBelow) s->temperature = 0.0F;
  // No limit, and the whole vocabulary, are the same thing.
  if (s->top_k < 0 || s->top_k >= context.model.vocab_size) s->top_k = 0;
  ReadLogitBias(r.logit_bias(), context, check, s);
}

template <typename Request>
void ReadCommon(const Request& r, const ValidationContext& context, FieldChecker* check,
                GenerationRequest* out) {
  check->Merge(ValidateModelName(r.model(), context.model));
  ReadSampling(r, context, check, &out->sampling);
  ReadStops(r.stop(), context, check, out);
  constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();
  // clang-format off
  check->Number("n", r.has_n(), r.n(), 1, context.limits.max_n, "[1, " + std::to_string(context.limits.max_n) + "]", &out->num_choices);
  check->Number("min_tokens", r.has_min_tokens(), r.min_tokens(), 0, context.model.max_model_len, "[0, max_model_len]", &out->min_tokens);
  check->Number("priority", r.has_priority(), r.priority(), std::numeric_limits<int32_t>::min(), kMaxInt, "int32", &out->priority);
  check->Number("stream_interval", r.has_stream_interval(), r.stream_interval(), 1, kMaxInt, "[1, 2147483647]", &out->stream_interval);
  // clang-format on
  check->Require(r.stop_token_ids_size() <= context.limits.max_stop_token_ids, "stop_token_ids",
                 "must have at most " + std::to_string(context.limits.max_stop_token_ids) + " ids");
  if (check->ok()) {
    auto ids =
        ValidateTokenIds("stop_token_ids", r.stop_token_ids().data(),
                         static_cast<size_t>(r.stop_token_ids_size()), context.model.vocab_size);
    check->Merge(ids.status());
    if (ids.ok()) out->stop_token_ids = std::move(*ids);
  }
  if (r.has_cache_salt()) {
    check->Require(!r.cache_salt().empty() && r.cache_salt().size() <= kMaxCacheSaltBytes,
                   "cache_salt", "must have 1 to 256 bytes");
    out->cache_salt = r.cache_salt();
  }
  if (r.has_response_format()) {
    const auto kind = r.response_format().format_case();
    check->Unsupported(
        kind != v1::ResponseFormat::kText && kind != v1::ResponseFormat::FORMAT_NOT_SET,
        "response_format", "structured output is not available on this server");
  }
  if (r.has_seed()) out->seed = static_cast<uint64_t>(r.seed());
  out->ignore_eos = r.ignore_eos();
  out->include_stop_in_output = r.include_stop_str_in_output();
  out->skip_special_tokens = !r.has_skip_special_tokens() || r.skip_special_tokens();
  out->return_token_ids = r.return_token_ids();
  check->Require(context.streaming || !r.has_stream_options(), "stream_options",
                 "is only for streams");
  // OpenAI's default is false; over gRPC, where no client could stumble over one more
  // message, usage comes unless it is refused.
  out->include_usage = r.stream_options().has_include_usage() ? r.stream_options().include_usage()
                                                              : context.protocol == Protocol::kGrpc;
  out->continuous_usage = r.stream_options().continuous_usage_stats();
}

}  // namespace inferd
