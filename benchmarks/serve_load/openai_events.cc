#include "serve_load/openai_events.h"

#include <limits>

#include "nlohmann/json.hpp"

namespace inferd::bench {
namespace {

using nlohmann::json;

// Parses without exceptions; null for what is no JSON.
json Parse(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? json() : value;
}

// The member of an object, or null.
const json& Member(const json& object, const char* name) {
  static const json kNothing;
  if (!object.is_object()) return kNothing;
  const auto it = object.find(name);
  return it == object.end() ? kNothing : *it;
}

int32_t CountOr(const json& value, int32_t otherwise) {
  if (!value.is_number_integer()) return otherwise;
  const auto count = value.get<int64_t>();
  return count < 0 || count > std::numeric_limits<int32_t>::max() ? otherwise
                                                                  : static_cast<int32_t>(count);
}

}  // namespace

CompletionEvent ParseCompletionEvent(std::string_view data) {
  CompletionEvent event;
  if (data == "[DONE]") {
    event.valid = true;
    event.done = true;
    return event;
  }
  const json value = Parse(data);
  event.valid = value.is_object();
  event.error = !Member(value, "error").is_null();
  if (const json& choices = Member(value, "choices"); choices.is_array()) {
    for (const json& choice : choices) {
      const json& text = Member(choice, "text");
      if (text.is_string() && !text.get_ref<const std::string&>().empty()) ++event.tokens;
    }
  }
  const json& usage = Member(value, "usage");
  event.prompt_tokens = CountOr(Member(usage, "prompt_tokens"), -1);
  event.completion_tokens = CountOr(Member(usage, "completion_tokens"), -1);
  event.cached_tokens =
      CountOr(Member(Member(usage, "prompt_tokens_details"), "cached_tokens"), -1);
  return event;
}

std::string CompletionBody(const LoadOptions& options, const Work& work) {
  json body = {{"prompt", work.prompt},
               {"max_tokens", work.max_tokens},
               {"temperature", options.temperature},
               {"seed", work.seed & 0x7fffffff},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}},
               {"ignore_eos", true}};
  if (!options.model.empty()) body["model"] = options.model;
  if (options.temperature == 0) body["top_k"] = 1;
  return body.dump();
}

int32_t VocabSizeOf(std::string_view models_json) {
  const json value = Parse(models_json);
  const json& models = Member(value, "data");
  if (!models.is_array() || models.empty()) return 0;
  const int32_t own = CountOr(Member(models[0], "vocab_size"), 0);
  return own > 0 ? own : CountOr(Member(Member(models[0], "meta"), "n_vocab"), 0);
}

}  // namespace inferd::bench
