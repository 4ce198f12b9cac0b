#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/text/tokenizer.h"
#include "nlohmann/json.hpp"

namespace inferd {

// What a template may use up. Exceeding any of them is INVALID_ARGUMENT with
// reason CHAT_TEMPLATE_ERROR; the work done is bounded by them whatever the
// template and its input.
struct ChatTemplateLimits {
  int64_t max_source_bytes = 1 << 20;
  int64_t max_operations = 2'000'000;
  int max_depth = 64;  // nesting of syntax, of macro calls and of values
  int64_t max_output_bytes = 16LL << 20;
  int64_t max_string_bytes = 8LL << 20;
};

// The result of rendering: text in order, each piece marked by origin. Text that
// came out of the input (messages, tools, kwargs) is untrusted; text written in
// the template, and the bos/eos token strings, are trusted. Adjacent pieces of
// the same origin are joined.
using RenderedPrompt = std::vector<TextSegment>;

// A compiled chat template: the Jinja subset that published models use, with
// trim_blocks and lstrip_blocks on. Immutable after Compile: any thread.
class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;

  // INVALID_ARGUMENT with line and reason for what cannot be compiled.
  static StatusOr<std::unique_ptr<const ChatTemplate>> Compile(std::string_view source,
                                                               const ChatTemplateLimits& limits);

  struct Options {
    bool add_generation_prompt = true;
    std::string bos_token;
    std::string eos_token;
    int64_t unix_seconds = 0;  // what strftime_now sees
  };

  // Renders with the variables `messages` (array of objects), `tools` (array or
  // null), the members of `kwargs` (object), and those of `options`. Key order
  // of objects is kept.
  virtual StatusOr<RenderedPrompt> Render(const nlohmann::ordered_json& messages,
                                          const nlohmann::ordered_json& tools,
                                          const nlohmann::ordered_json& kwargs,
                                          const Options& options) const = 0;
};

}  // namespace inferd
