#include <algorithm>
#include <array>

#include "text/template/budget.h"
#include "text/template/parser.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

}  // namespace

// Statements up to one of `ends`, which stays the current token; without ends,
// up to the end of the template.
StatusOr<int> Parser::ParseBlock(std::span<const std::string_view> ends) {
  Children children;
  const int line = current().line;
  while (current().type != Type::kEnd) {
    const Token& token = current();
    if (token.type == Type::kData) {
      Advance();
      const int constant = AddConstant(Value::String(std::string(token.text), /*trusted=*/true));
      INFERD_ASSIGN_OR_RETURN(const int node, Add(NodeType::kText, token.line, {}, constant));
      children.push_back(node);
    } else if (token.type == Type::kVariableBegin) {
      Advance();
      INFERD_ASSIGN_OR_RETURN(const int expression, ParseTuple(true, false));
      if (current().type != Type::kVariableEnd) return Unexpected("'}}'");
      Advance();
      INFERD_ASSIGN_OR_RETURN(const int node, Add(NodeType::kOutput, token.line, {expression}));
      children.push_back(node);
    } else {
      if (token.type != Type::kBlockBegin) return Unexpected("text or a tag");
      Advance();
      if (std::any_of(ends.begin(), ends.end(), [this](auto end) { return IsName(end); })) {
        return Add(NodeType::kBlock, line, children);
      }
      INFERD_ASSIGN_OR_RETURN(const int node, ParseStatement());
      INFERD_RETURN_IF_ERROR(ExpectBlockEnd());
      children.push_back(node);
    }
  }
  if (!ends.empty())
    return Fail("unexpected end of template, expected '" + std::string(ends.back()) + "'");
  return Add(NodeType::kBlock, line, children);
}

// The rest of a tag, then statements up to one of `ends`.
StatusOr<int> Parser::ParseBody(std::span<const std::string_view> ends) {
  SkipOperator(":");
  INFERD_RETURN_IF_ERROR(ExpectBlockEnd());
  return ParseBlock(ends);
}

StatusOr<int> Parser::ParseStatement() {
  const Descent descent(*this);
  INFERD_RETURN_IF_ERROR(CheckDepth());
  if (current().type != Type::kName) return Unexpected("a tag name");
  const std::string_view tag = current().text;
  if (tag == "if") return ParseIf();
  if (tag == "for") return ParseFor();
  if (tag == "set") return ParseSet();
  if (tag == "macro") return ParseMacro();
  if (tag == "call") return ParseCallBlock();
  if (tag == "filter") return ParseFilterBlock();
  if (tag == "with") return ParseWith();
  if (tag == "break") return ParseLoopControl(NodeType::kBreak);
  if (tag == "continue") return ParseLoopControl(NodeType::kContinue);
  if (tag == "generation") {
    static constexpr std::array<std::string_view, 1> kEnds = {"endgeneration"};
    const int line = current().line;
    Advance();
    INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEnds));
    Advance();
    return Add(NodeType::kScope, line, {body});
  }
  return Fail("unknown tag '" + std::string(tag) + "'");
}

StatusOr<int> Parser::ParseIf() {
  static constexpr std::array<std::string_view, 3> kEnds = {"elif", "else", "endif"};
  static constexpr std::array<std::string_view, 1> kEndif = {"endif"};
  const int line = current().line;
  Children children;
  do {
    Advance();  // if, elif
    INFERD_ASSIGN_OR_RETURN(const int condition, ParseTuple(false, false));
    INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEnds));
    children.insert(children.end(), {condition, body});
  } while (IsName("elif"));
  if (SkipName("else")) {
    INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEndif));
    children.push_back(body);
  }
  Advance();  // endif
  return Add(NodeType::kIf, line, children);
}

StatusOr<int> Parser::ParseFor() {
  static constexpr std::array<std::string_view, 2> kEnds = {"else", "endfor"};
  static constexpr std::array<std::string_view, 1> kEndfor = {"endfor"};
  const int line = current().line;
  Advance();
  INFERD_ASSIGN_OR_RETURN(const int target, ParseTarget(false));
  INFERD_RETURN_IF_ERROR(ExpectName("in"));
  INFERD_ASSIGN_OR_RETURN(const int iterable, ParseTuple(false, false));
  int condition = kNoNode;
  if (SkipName("if")) {
    INFERD_ASSIGN_OR_RETURN(condition, ParseExpression());
  }
  if (IsName("recursive")) return Fail("recursive loops are not supported");
  ++loop_depth_;
  const bool outer_uses_loop = std::exchange(uses_loop_, false);
  INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEnds));
  const bool uses_loop = uses_loop_;
  uses_loop_ = outer_uses_loop || uses_loop;
  --loop_depth_;
  int otherwise = kNoNode;
  if (SkipName("else")) {
    INFERD_ASSIGN_OR_RETURN(otherwise, ParseBody(kEndfor));
  }
  Advance();  // endfor
  return Add(NodeType::kFor, line, {target, iterable, condition, body, otherwise}, 0,
             uses_loop ? 1 : 0);
}

StatusOr<int> Parser::ParseSet() {
  static constexpr std::array<std::string_view, 1> kEnds = {"endset"};
  const int line = current().line;
  Advance();
  INFERD_ASSIGN_OR_RETURN(const int target, ParseTarget(true));
  if (SkipOperator("=")) {
    INFERD_ASSIGN_OR_RETURN(const int expression, ParseTuple(true, false));
    return Add(NodeType::kSet, line, {target, expression});
  }
  int filter = kNoNode;
  while (SkipOperator("|")) {
    INFERD_ASSIGN_OR_RETURN(filter, ParseFilter(filter));
  }
  INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEnds));
  Advance();
  return Add(NodeType::kSetBlock, line, {target, filter, body});
}

// "(a, b=1)", the rest of the tag, the body: a macro.
StatusOr<int> Parser::ParseSignatureAndBody(int line, int name, std::string_view end) {
  const std::array<std::string_view, 1> ends = {end};
  const uint8_t outer_uses = std::exchange(macro_uses_, 0);
  const int outer_loop_depth = std::exchange(loop_depth_, 0);
  Children children = {kNoNode};
  if (SkipOperator("(")) {
    bool has_default = false;
    while (!IsOperator(")")) {
      if (children.size() > 1) INFERD_RETURN_IF_ERROR(ExpectOperator(","));
      const int parameter_line = current().line;
      INFERD_ASSIGN_OR_RETURN(const int parameter, NameToken());
      assigned_[static_cast<size_t>(parameter)] = true;
      int value = kNoNode;
      if (SkipOperator("=")) {
        INFERD_ASSIGN_OR_RETURN(value, ParseExpression());
        has_default = true;
      } else if (has_default) {
        return Fail("non-default argument follows default argument");
      }
      INFERD_ASSIGN_OR_RETURN(const int node,
                              Add(NodeType::kParameter, parameter_line, {value}, parameter));
      children.push_back(node);
    }
    Advance();
  }
  // A call block's call comes between; the caller of this function parses it.
  if (end == "endcall") {
    INFERD_ASSIGN_OR_RETURN(const int call, ParseUnary(true));
    if (tree_.node(call).type != NodeType::kCall) return CompileError(line, "expected a call");
    children.push_back(call);
  }
  INFERD_ASSIGN_OR_RETURN(children[0], ParseBody(ends));
  Advance();
  const uint8_t uses = std::exchange(macro_uses_, outer_uses);
  loop_depth_ = outer_loop_depth;
  if (end != "endcall") return Add(NodeType::kMacro, line, children, name, uses);
  macro_uses_ |= uses & kUsesCaller;
  const int call = children.back();
  children.pop_back();
  INFERD_ASSIGN_OR_RETURN(const int macro, Add(NodeType::kMacro, line, children, name, uses));
  return Add(NodeType::kCallBlock, line, {call, macro});
}

StatusOr<int> Parser::ParseMacro() {
  const int line = current().line;
  Advance();
  INFERD_ASSIGN_OR_RETURN(const int name, NameToken());
  assigned_[static_cast<size_t>(name)] = true;
  if (!IsOperator("(")) return Unexpected("'('");
  return ParseSignatureAndBody(line, name, "endmacro");
}

StatusOr<int> Parser::ParseCallBlock() {
  const int line = current().line;
  Advance();
  return ParseSignatureAndBody(line, NameId("caller"), "endcall");
}

StatusOr<int> Parser::ParseFilterBlock() {
  static constexpr std::array<std::string_view, 1> kEnds = {"endfilter"};
  const int line = current().line;
  Advance();
  INFERD_ASSIGN_OR_RETURN(int filter, ParseFilter(kNoNode));
  while (SkipOperator("|")) {
    INFERD_ASSIGN_OR_RETURN(filter, ParseFilter(filter));
  }
  INFERD_ASSIGN_OR_RETURN(const int body, ParseBody(kEnds));
  Advance();
  return Add(NodeType::kFilterBlock, line, {filter, body});
}

StatusOr<int> Parser::ParseWith() {
  static constexpr std::array<std::string_view, 1> kEnds = {"endwith"};
  const int line = current().line;
  Advance();
  Children children = {kNoNode};
  while (current().type != Type::kBlockEnd) {
    if (children.size() > 1) INFERD_RETURN_IF_ERROR(ExpectOperator(","));
    INFERD_ASSIGN_OR_RETURN(const int target, ParseTarget(false));
    INFERD_RETURN_IF_ERROR(ExpectOperator("="));
    INFERD_ASSIGN_OR_RETURN(const int expression, ParseExpression());
    children.insert(children.end(), {target, expression});
  }
  INFERD_ASSIGN_OR_RETURN(children[0], ParseBody(kEnds));
  Advance();
  return Add(NodeType::kWith, line, children);
}

StatusOr<int> Parser::ParseLoopControl(NodeType type) {
  if (loop_depth_ == 0) return Fail("'" + std::string(current().text) + "' outside of a loop");
  const int line = current().line;
  Advance();
  return Add(type, line, {});
}

StatusOr<int> Parser::ParseTargetName(bool with_namespace) {
  const int line = current().line;
  if (SkipOperator("(")) {
    const Descent descent(*this);
    INFERD_RETURN_IF_ERROR(CheckDepth());
    INFERD_ASSIGN_OR_RETURN(const int target, ParseTarget(with_namespace));
    INFERD_RETURN_IF_ERROR(ExpectOperator(")"));
    return target;
  }
  for (std::string_view reserved : {"true", "false", "none", "True", "False", "None", "loop"}) {
    if (IsName(reserved)) return Fail("can't assign to '" + std::string(reserved) + "'");
  }
  INFERD_ASSIGN_OR_RETURN(const int name, NameToken());
  if (with_namespace && SkipOperator(".")) {
    INFERD_ASSIGN_OR_RETURN(const int attribute, NameToken());
    INFERD_ASSIGN_OR_RETURN(const int node, Add(NodeType::kNamespaceTarget, line, {}, name));
    tree_.nodes.back().op2 = attribute;
    return node;
  }
  assigned_[static_cast<size_t>(name)] = true;
  return Add(NodeType::kName, line, {}, name);
}

// One name or several, which are a tuple.
StatusOr<int> Parser::ParseTarget(bool with_namespace) {
  const int line = current().line;
  Children children;
  bool tuple = false;
  do {
    if (!children.empty() && (IsName("in") || IsOperator("=") || IsOperator(")"))) break;
    INFERD_ASSIGN_OR_RETURN(const int target, ParseTargetName(with_namespace));
    children.push_back(target);
    tuple = tuple || IsOperator(",");
  } while (SkipOperator(","));
  if (!tuple) return children[0];
  return Add(NodeType::kTuple, line, children);
}

}  // namespace inferd::chat_template
