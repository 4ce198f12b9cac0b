#include <charconv>
#include <optional>
#include <string>

#include "text/template/budget.h"
#include "text/template/parser.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

std::string WithoutUnderscores(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != '_') out.push_back(c);
  }
  return out;
}

}  // namespace

StatusOr<int> Parser::ParsePrimary() {
  const Token token = current();
  if (token.type == Type::kName) {
    Advance();
    const std::string_view name = token.text;
    std::optional<Value> constant;
    if (name == "true" || name == "True") constant = Value::Bool(true);
    if (name == "false" || name == "False") constant = Value::Bool(false);
    if (name == "none" || name == "None") constant = Value::None();
    if (constant.has_value())
      return Add(NodeType::kConstant, token.line, {}, AddConstant(*std::move(constant)));
    if (name == "loop") uses_loop_ = true;
    if (name == "varargs") macro_uses_ |= kUsesVarargs;
    if (name == "kwargs") macro_uses_ |= kUsesKwargs;
    if (name == "caller") macro_uses_ |= kUsesCaller;
    return Add(NodeType::kName, token.line, {}, NameId(name));
  }
  if (token.type == Type::kString) return ParseString();
  if (token.type == Type::kInteger || token.type == Type::kFloat) return ParseNumber();
  if (SkipOperator("(")) {
    INFERD_ASSIGN_OR_RETURN(const int node, ParseTuple(true, true));
    INFERD_RETURN_IF_ERROR(ExpectOperator(")"));
    return node;
  }
  if (IsOperator("[")) return ParseListLiteral();
  if (IsOperator("{")) return ParseDictLiteral();
  return Unexpected("an expression");
}

StatusOr<int> Parser::ParseString() {
  const int line = current().line;
  std::string text;
  while (current().type == Type::kString) {  // neighbours are one string
    INFERD_ASSIGN_OR_RETURN(const std::string part,
                            UnescapeLiteral(current().text, current().line));
    text += part;
    Advance();
  }
  return Add(NodeType::kConstant, line, {},
             AddConstant(Value::String(std::move(text), /*trusted=*/true)));
}

StatusOr<int> Parser::ParseNumber() {
  const Token token = current();
  Advance();
  std::string digits = WithoutUnderscores(token.text);
  if (token.type == Type::kFloat) {
    double value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec != std::errc()) return CompileError(token.line, "float out of range");
    return Add(NodeType::kConstant, token.line, {}, AddConstant(Value::Float(value)));
  }
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char kind = static_cast<char>(digits[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    if (base != 10) digits.erase(0, 2);
  }
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (result.ec != std::errc()) return CompileError(token.line, "integer out of range");
  return Add(NodeType::kConstant, token.line, {}, AddConstant(Value::Int(value)));
}

StatusOr<int> Parser::ParseListLiteral() {
  const int line = current().line;
  Advance();
  Children children;
  while (!IsOperator("]")) {
    if (!children.empty()) INFERD_RETURN_IF_ERROR(ExpectOperator(","));
    if (IsOperator("]")) break;
    INFERD_ASSIGN_OR_RETURN(const int node, ParseExpression());
    children.push_back(node);
  }
  Advance();
  return Add(NodeType::kList, line, children);
}

StatusOr<int> Parser::ParseDictLiteral() {
  const int line = current().line;
  Advance();
  Children children;
  while (!IsOperator("}")) {
    if (!children.empty()) INFERD_RETURN_IF_ERROR(ExpectOperator(","));
    if (IsOperator("}")) break;
    INFERD_ASSIGN_OR_RETURN(const int key, ParseExpression());
    INFERD_RETURN_IF_ERROR(ExpectOperator(":"));
    INFERD_ASSIGN_OR_RETURN(const int item, ParseExpression());
    children.insert(children.end(), {key, item});
  }
  Advance();
  return Add(NodeType::kDict, line, children);
}

}  // namespace inferd::chat_template
