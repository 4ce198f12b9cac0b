#include "text/template/parser.h"

#include <algorithm>
#include <array>

#include "text/template/budget.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

std::string Describe(const Token& token) {
  switch (token.type) {
    case Type::kEnd:
      return "the end of the template";
    case Type::kData:
      return "text";
    case Type::kBlockEnd:
      return "'%}'";
    case Type::kVariableEnd:
      return "'}}'";
    case Type::kBlockBegin:
      return "'{%'";
    case Type::kVariableBegin:
      return "'{{'";
    default:
      return "'" + std::string(token.text) + "'";
  }
}

}  // namespace

StatusOr<Tree> Parser::Parse() {
  INFERD_ASSIGN_OR_RETURN(tree_.root, ParseBlock({}));
  INFERD_RETURN_IF_ERROR(CheckCalledNames());
  return std::move(tree_);
}

Status Parser::CheckDepth() const {
  if (depth_ > max_depth_) return Fail("the template is nested too deeply");
  return OkStatus();
}

bool Parser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  Advance();
  return true;
}

bool Parser::SkipOperator(std::string_view op) {
  if (!IsOperator(op)) return false;
  Advance();
  return true;
}

Status Parser::ExpectName(std::string_view name) {
  return SkipName(name) ? OkStatus() : Unexpected("'" + std::string(name) + "'");
}

Status Parser::ExpectOperator(std::string_view op) {
  return SkipOperator(op) ? OkStatus() : Unexpected("'" + std::string(op) + "'");
}

Status Parser::ExpectBlockEnd() {
  if (current().type != Type::kBlockEnd) return Unexpected("'%}'");
  Advance();
  return OkStatus();
}

Status Parser::Unexpected(std::string_view expected) const {
  return Fail("expected " + std::string(expected) + ", got " + Describe(current()));
}

Status Parser::Fail(std::string_view message) const {
  return CompileError(current().line, message);
}

StatusOr<int> Parser::Add(NodeType type, int line, const Children& children, int value,
                          uint8_t op) {
  Node node{.type = type, .op = op, .line = line, .value = value};
  node.first = static_cast<int>(tree_.links.size());
  node.count = static_cast<int>(children.size());
  const bool has_operators = type == NodeType::kArithmetic || type == NodeType::kCompare;
  int height = 1;
  for (size_t i = 0; i < children.size(); ++i) {
    tree_.links.push_back(children[i]);
    const bool is_node = children[i] != kNoNode && !(has_operators && i % 2 == 1);
    if (is_node) height = std::max(height, tree_.node(children[i]).height + 1);
  }
  // Blocks only group statements and are not nesting by themselves.
  if (type == NodeType::kBlock && height > 1) --height;
  if (height > max_depth_) return CompileError(line, "the template is nested too deeply");
  node.height = static_cast<uint16_t>(height);
  tree_.nodes.push_back(node);
  return static_cast<int>(tree_.nodes.size()) - 1;
}

int Parser::AddConstant(Value value) {
  tree_.constants.push_back(std::move(value));
  return static_cast<int>(tree_.constants.size()) - 1;
}

int Parser::NameId(std::string_view name) {
  const auto it = name_ids_.find(name);
  if (it != name_ids_.end()) return it->second;
  const int id = static_cast<int>(tree_.names.size());
  tree_.names.push_back(Value::String(std::string(name), /*trusted=*/true));
  assigned_.push_back(false);
  name_ids_.emplace(std::string(name), id);
  return id;
}

StatusOr<int> Parser::NameToken() {
  if (current().type != Type::kName) return Unexpected("a name");
  const int id = NameId(current().text);
  Advance();
  return id;
}

Status Parser::CheckCalledNames() const {
  for (const auto& [name, line] : called_) {
    if (assigned_[static_cast<size_t>(name)]) continue;
    const std::string_view text = tree_.name(name).text();
    static constexpr std::array<std::string_view, 8> kKnown = {
        "range",        "dict",   "namespace", "raise_exception",
        "strftime_now", "caller", "loop",      "kwargs"};
    if (std::find(kKnown.begin(), kKnown.end(), text) != kKnown.end()) continue;
    return CompileError(line, "unknown function '" + std::string(text) + "'");
  }
  return OkStatus();
}

}  // namespace inferd::chat_template
