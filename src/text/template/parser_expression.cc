#include <array>
#include <charconv>
#include <optional>

#include "text/template/budget.h"
#include "text/template/filters.h"
#include "text/template/parser.h"
#include "text/template/tests.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

struct OperatorName {
  std::string_view text;
  Operator op;
};

template <size_t N>
std::optional<Operator> Match(const std::array<OperatorName, N>& table, const Token& token) {
  if (token.type != Type::kOperator) return std::nullopt;
  for (const OperatorName& entry : table) {
    if (entry.text == token.text) return entry.op;
  }
  return std::nullopt;
}

constexpr std::array<OperatorName, 6> kComparisons = {{
    {"==", Operator::kEqual},
    {"!=", Operator::kNotEqual},
    {"<", Operator::kLess},
    {"<=", Operator::kLessEqual},
    {">", Operator::kGreater},
    {">=", Operator::kGreaterEqual},
}};
constexpr std::array<OperatorName, 2> kSums = {{
    {"+", Operator::kAdd},
    {"-", Operator::kSubtract},
}};
constexpr std::array<OperatorName, 4> kProducts = {{
    {"*", Operator::kMultiply},
    {"/", Operator::kDivide},
    {"//", Operator::kFloorDivide},
    {"%", Operator::kModulo},
}};

std::string WithoutUnderscores(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != '_') out.push_back(c);
  }
  return out;
}

}  // namespace

bool Parser::IsTupleEnd() const {
  return current().type == Type::kVariableEnd || current().type == Type::kBlockEnd ||
         IsOperator(")");
}

// One expression or several separated by commas, which are a tuple.
StatusOr<int> Parser::ParseTuple(bool with_conditional, bool parentheses) {
  const int line = current().line;
  Children children;
  bool tuple = false;
  while (true) {
    if (!children.empty()) INFERD_RETURN_IF_ERROR(ExpectOperator(","));
    if (IsTupleEnd()) break;
    INFERD_ASSIGN_OR_RETURN(const int node, with_conditional ? ParseExpression() : ParseOr());
    children.push_back(node);
    if (!IsOperator(",")) break;
    tuple = true;
  }
  if (!tuple) {
    if (!children.empty()) return children[0];
    if (!parentheses) return Unexpected("an expression");
  }
  return Add(NodeType::kTuple, line, children);
}

StatusOr<int> Parser::ParseExpression() {
  const Descent descent(*this);
  INFERD_RETURN_IF_ERROR(CheckDepth());
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(int node, ParseOr());
  while (SkipName("if")) {
    INFERD_ASSIGN_OR_RETURN(const int condition, ParseOr());
    int otherwise = kNoNode;
    if (SkipName("else")) {
      INFERD_ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    INFERD_ASSIGN_OR_RETURN(node, Add(NodeType::kConditional, line, {condition, node, otherwise}));
  }
  return node;
}

StatusOr<int> Parser::ParseOr() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseAnd());
  Children children = {first};
  while (SkipName("or")) {
    INFERD_ASSIGN_OR_RETURN(const int node, ParseAnd());
    children.push_back(node);
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kOr, line, children);
}

StatusOr<int> Parser::ParseAnd() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseNot());
  Children children = {first};
  while (SkipName("and")) {
    INFERD_ASSIGN_OR_RETURN(const int node, ParseNot());
    children.push_back(node);
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kAnd, line, children);
}

StatusOr<int> Parser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Descent descent(*this);
  INFERD_RETURN_IF_ERROR(CheckDepth());
  const int line = current().line;
  Advance();
  INFERD_ASSIGN_OR_RETURN(const int operand, ParseNot());
  return Add(NodeType::kNot, line, {operand});
}

StatusOr<int> Parser::ParseCompare() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseSum());
  Children children = {first};
  while (true) {
    std::optional<Operator> op = Match(kComparisons, current());
    if (IsName("in")) op = Operator::kIn;
    if (IsName("not") && next().type == Type::kName && next().text == "in") {
      op = Operator::kNotIn;
      Advance();
    }
    if (!op.has_value()) break;
    Advance();
    INFERD_ASSIGN_OR_RETURN(const int node, ParseSum());
    children.insert(children.end(), {static_cast<int>(*op), node});
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kCompare, line, children);
}

StatusOr<int> Parser::ParseSum() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseConcat());
  Children children = {first};
  while (const std::optional<Operator> op = Match(kSums, current())) {
    Advance();
    INFERD_ASSIGN_OR_RETURN(const int node, ParseConcat());
    children.insert(children.end(), {static_cast<int>(*op), node});
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kArithmetic, line, children);
}

StatusOr<int> Parser::ParseConcat() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseProduct());
  Children children = {first};
  while (SkipOperator("~")) {
    INFERD_ASSIGN_OR_RETURN(const int node, ParseProduct());
    children.push_back(node);
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kConcat, line, children);
}

StatusOr<int> Parser::ParseProduct() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParsePower());
  Children children = {first};
  while (const std::optional<Operator> op = Match(kProducts, current())) {
    Advance();
    INFERD_ASSIGN_OR_RETURN(const int node, ParsePower());
    children.insert(children.end(), {static_cast<int>(*op), node});
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kArithmetic, line, children);
}

// The operators of one chain are applied from the left, powers too.
StatusOr<int> Parser::ParsePower() {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, ParseUnary(true));
  Children children = {first};
  while (SkipOperator("**")) {
    INFERD_ASSIGN_OR_RETURN(const int node, ParseUnary(true));
    children.insert(children.end(), {static_cast<int>(Operator::kPower), node});
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(NodeType::kArithmetic, line, children);
}

StatusOr<int> Parser::ParseUnary(bool with_filter) {
  int node = kNoNode;
  if (IsOperator("-") || IsOperator("+")) {
    const Descent descent(*this);
    INFERD_RETURN_IF_ERROR(CheckDepth());
    const int line = current().line;
    const Operator op = IsOperator("-") ? Operator::kSubtract : Operator::kAdd;
    Advance();
    INFERD_ASSIGN_OR_RETURN(const int operand, ParseUnary(false));
    INFERD_ASSIGN_OR_RETURN(node,
                            Add(NodeType::kUnary, line, {operand}, 0, static_cast<uint8_t>(op)));
  } else {
    INFERD_ASSIGN_OR_RETURN(node, ParsePrimary());
  }
  INFERD_ASSIGN_OR_RETURN(node, ParsePostfix(node));
  return with_filter ? ParseFilterChain(node) : StatusOr<int>(node);
}

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
