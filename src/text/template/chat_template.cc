#include "inferd/text/chat_template.h"

#include <algorithm>
#include <array>

#include "text/template/budget.h"
#include "text/template/interpreter.h"
#include "text/template/json_input.h"
#include "text/template/lexer.h"
#include "text/template/parser.h"
#include "text/template/unicode.h"

namespace inferd {
namespace {

using chat_template::Budget;
using chat_template::FromJson;
using chat_template::Interpreter;
using chat_template::MarkedString;
using chat_template::Tree;
using chat_template::Value;

// Parsing and rendering recurse this deep at most, whatever is configured.
constexpr int kMaxDepth = 64;

constexpr std::array<std::string_view, 5> kReserved = {"messages", "tools", "add_generation_prompt",
                                                       "bos_token", "eos_token"};

class CompiledTemplate final : public ChatTemplate {
 public:
  CompiledTemplate(Tree tree, const ChatTemplateLimits& limits)
      : tree_(std::move(tree)), limits_(limits) {}

  StatusOr<RenderedPrompt> Render(const nlohmann::ordered_json& messages,
                                  const nlohmann::ordered_json& tools,
                                  const nlohmann::ordered_json& kwargs,
                                  const Options& options) const override {
    Budget budget(limits_, options.unix_seconds);
    Interpreter interpreter(tree_, budget);
    INFERD_RETURN_IF_ERROR(DefineJson(budget, interpreter, "messages", messages));
    INFERD_RETURN_IF_ERROR(DefineJson(budget, interpreter, "tools", tools));
    interpreter.Define("documents", Value::None());
    interpreter.Define("add_generation_prompt", Value::Bool(options.add_generation_prompt));
    INFERD_RETURN_IF_ERROR(DefineToken(budget, interpreter, "bos_token", options.bos_token));
    INFERD_RETURN_IF_ERROR(DefineToken(budget, interpreter, "eos_token", options.eos_token));
    if (!kwargs.is_null() && !kwargs.is_object())
      return budget.Error("template arguments must be an object");
    for (auto it = kwargs.begin(); it != kwargs.end(); ++it) {
      if (std::find(kReserved.begin(), kReserved.end(), it.key()) != kReserved.end())
        return budget.Error("template argument '" + it.key() + "' is reserved");
      INFERD_RETURN_IF_ERROR(DefineJson(budget, interpreter, it.key(), it.value()));
    }
    INFERD_ASSIGN_OR_RETURN(const MarkedString text, interpreter.Run());
    RenderedPrompt prompt;
    text.ForEachRun(0, text.size(), [&](size_t begin, size_t end, bool trusted) {
      prompt.push_back({text.text().substr(begin, end - begin), trusted});
    });
    return prompt;
  }

 private:
  // Converts only what the template mentions.
  static Status DefineJson(Budget& budget, Interpreter& interpreter, std::string_view name,
                           const nlohmann::ordered_json& json) {
    if (!interpreter.Mentions(name)) return budget.Charge(1);
    INFERD_ASSIGN_OR_RETURN(Value value, FromJson(budget, json));
    interpreter.Define(name, std::move(value));
    return OkStatus();
  }

  static Status DefineToken(Budget& budget, Interpreter& interpreter, std::string_view name,
                            const std::string& token) {
    if (!chat_template::IsValidUtf8(token))
      return budget.Error(std::string(name) + " is not UTF-8");
    interpreter.Define(name, Value::String(token, /*trusted=*/true));
    return OkStatus();
  }

  const Tree tree_;
  const ChatTemplateLimits limits_;
};

}  // namespace

StatusOr<std::unique_ptr<const ChatTemplate>> ChatTemplate::Compile(
    std::string_view source, const ChatTemplateLimits& limits) {
  ChatTemplateLimits bounded = limits;
  bounded.max_depth = std::clamp(limits.max_depth, 1, kMaxDepth);
  // Positions in marked text are 32-bit.
  bounded.max_string_bytes = std::clamp<int64_t>(limits.max_string_bytes, 0, 1 << 30);
  bounded.max_output_bytes = std::clamp<int64_t>(limits.max_output_bytes, 0, 1 << 30);
  if (source.size() > static_cast<size_t>(std::clamp<int64_t>(limits.max_source_bytes, 0, 1 << 28)))
    return chat_template::CompileError(1, "the template is too long");
  if (!chat_template::IsValidUtf8(source))
    return chat_template::CompileError(1, "the template is not UTF-8");
  const std::string normalized = chat_template::NormalizeNewlines(source);
  INFERD_ASSIGN_OR_RETURN(const std::vector<chat_template::Token> tokens,
                          chat_template::Tokenize(normalized));
  INFERD_ASSIGN_OR_RETURN(Tree tree, chat_template::Parser(tokens, bounded.max_depth).Parse());
  return std::unique_ptr<const ChatTemplate>(
      std::make_unique<CompiledTemplate>(std::move(tree), bounded));
}

}  // namespace inferd
