#include "text/template/budget.h"
#include "text/template/filters.h"
#include "text/template/parser.h"
#include "text/template/tests.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

}  // namespace

StatusOr<int> Parser::ParsePostfix(int node) {
  while (true) {
    if (IsOperator(".") || IsOperator("[")) {
      INFERD_ASSIGN_OR_RETURN(node, ParseSubscript(node));
    } else if (IsOperator("(")) {
      INFERD_ASSIGN_OR_RETURN(node, ParseCall(node));
    } else {
      return node;
    }
  }
}

StatusOr<int> Parser::ParseFilterChain(int node) {
  while (true) {
    if (SkipOperator("|")) {
      INFERD_ASSIGN_OR_RETURN(node, ParseFilter(node));
    } else if (IsName("is")) {
      INFERD_ASSIGN_OR_RETURN(node, ParseTest(node));
    } else if (IsOperator("(")) {
      INFERD_ASSIGN_OR_RETURN(node, ParseCall(node));
    } else {
      return node;
    }
  }
}

StatusOr<int> Parser::ParseSubscript(int node) {
  const int line = current().line;
  if (SkipOperator(".")) {
    if (current().type == Type::kInteger) {
      INFERD_ASSIGN_OR_RETURN(const int key, ParseNumber());
      return Add(NodeType::kSubscript, line, {node, key});
    }
    INFERD_ASSIGN_OR_RETURN(const int name, NameToken());
    return Add(NodeType::kAttribute, line, {node}, name);
  }
  Advance();  // [
  const auto at_end = [this] { return IsOperator("]") || IsOperator(":"); };
  int start = kNoNode;
  if (!IsOperator(":")) {
    INFERD_ASSIGN_OR_RETURN(start, ParseTuple(true, false));
    if (SkipOperator("]")) return Add(NodeType::kSubscript, line, {node, start});
  }
  INFERD_RETURN_IF_ERROR(ExpectOperator(":"));
  int stop = kNoNode;
  int step = kNoNode;
  if (!at_end()) {
    INFERD_ASSIGN_OR_RETURN(stop, ParseExpression());
  }
  if (SkipOperator(":") && !at_end()) {
    INFERD_ASSIGN_OR_RETURN(step, ParseExpression());
  }
  INFERD_RETURN_IF_ERROR(ExpectOperator("]"));
  return Add(NodeType::kSlice, line, {node, start, stop, step});
}

// "(a, b=1, *c, **d)" to kArgument nodes after what `children` has.
Status Parser::ParseArguments(Children& children) {
  const size_t before = children.size();
  INFERD_RETURN_IF_ERROR(ExpectOperator("("));
  ArgumentKind last = ArgumentKind::kPositional;
  while (!IsOperator(")")) {
    if (children.size() > before) {
      INFERD_RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator(")")) break;
    }
    const int line = current().line;
    ArgumentKind kind = ArgumentKind::kPositional;
    int name = 0;
    if (SkipOperator("*")) {
      kind = ArgumentKind::kSpread;
    } else if (SkipOperator("**")) {
      kind = ArgumentKind::kSpreadKeywords;
    } else if (current().type == Type::kName && next().type == Type::kOperator &&
               next().text == "=") {
      kind = ArgumentKind::kKeyword;
      name = NameId(current().text);
      Advance();
      Advance();
    }
    const bool repeated = kind == last && kind >= ArgumentKind::kSpread;
    const bool late = kind == ArgumentKind::kPositional && last != ArgumentKind::kPositional;
    if (repeated || late || last == ArgumentKind::kSpreadKeywords)
      return Fail("invalid syntax for function call expression");
    last = kind;
    INFERD_ASSIGN_OR_RETURN(const int value, ParseExpression());
    INFERD_ASSIGN_OR_RETURN(
        const int node, Add(NodeType::kArgument, line, {value}, name, static_cast<uint8_t>(kind)));
    children.push_back(node);
  }
  Advance();
  return OkStatus();
}

StatusOr<int> Parser::ParseCall(int callee) {
  const int line = current().line;
  if (tree_.node(callee).type == NodeType::kName)
    called_.emplace_back(tree_.node(callee).value, line);
  Children children = {callee};
  INFERD_RETURN_IF_ERROR(ParseArguments(children));
  return Add(NodeType::kCall, line, children);
}

StatusOr<std::string_view> Parser::DottedName() {
  if (current().type != Type::kName) return Unexpected("a name");
  const std::string_view name = current().text;
  Advance();
  if (IsOperator(".")) return Fail("unknown name '" + std::string(name) + ".'");
  return name;
}

// After the "|".
StatusOr<int> Parser::ParseFilter(int input) {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const std::string_view name, DottedName());
  const int filter = FindFilter(name);
  if (filter < 0) return CompileError(line, "unknown filter '" + std::string(name) + "'");
  Children children = {input};
  if (IsOperator("(")) INFERD_RETURN_IF_ERROR(ParseArguments(children));
  return Add(NodeType::kFilter, line, children, filter);
}

StatusOr<int> Parser::ParseTest(int input) {
  const int line = current().line;
  Advance();  // is
  const bool negated = SkipName("not");
  INFERD_ASSIGN_OR_RETURN(const std::string_view name, DottedName());
  const int test = FindTest(name);
  if (test < 0) return CompileError(line, "unknown test '" + std::string(name) + "'");
  Children children = {input};
  const bool literal = current().type == Type::kString || current().type == Type::kInteger ||
                       current().type == Type::kFloat || IsOperator("[") || IsOperator("{");
  const bool operand_name =
      current().type == Type::kName && !IsName("else") && !IsName("or") && !IsName("and");
  if (IsOperator("(")) {
    INFERD_RETURN_IF_ERROR(ParseArguments(children));
  } else if (literal || operand_name) {
    if (IsName("is")) return Fail("tests cannot be chained with 'is'");
    const int argument_line = current().line;
    INFERD_ASSIGN_OR_RETURN(int argument, ParsePrimary());
    INFERD_ASSIGN_OR_RETURN(argument, ParsePostfix(argument));
    INFERD_ASSIGN_OR_RETURN(argument, Add(NodeType::kArgument, argument_line, {argument}));
    children.push_back(argument);
  }
  INFERD_ASSIGN_OR_RETURN(const int node, Add(NodeType::kTest, line, children, test));
  return negated ? Add(NodeType::kNot, line, {node}) : StatusOr<int>(node);
}

}  // namespace inferd::chat_template
