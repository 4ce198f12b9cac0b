#include <array>
#include <optional>

#include "text/template/parser.h"

namespace inferd::chat_template {
namespace {

using Type = Token::Type;

constexpr std::array<OperatorSymbol, 6> kComparisons = {{
    {"==", Operator::kEqual},
    {"!=", Operator::kNotEqual},
    {"<", Operator::kLess},
    {"<=", Operator::kLessEqual},
    {">", Operator::kGreater},
    {">=", Operator::kGreaterEqual},
}};
constexpr std::array<OperatorSymbol, 2> kSums = {{
    {"+", Operator::kAdd},
    {"-", Operator::kSubtract},
}};
constexpr std::array<OperatorSymbol, 4> kProducts = {{
    {"*", Operator::kMultiply},
    {"/", Operator::kDivide},
    {"//", Operator::kFloorDivide},
    {"%", Operator::kModulo},
}};
constexpr std::array<OperatorSymbol, 1> kPowers = {{{"**", Operator::kPower}}};

}  // namespace

// The operator of `table` at hand, passed over; nothing when none of them is.
std::optional<Operator> Parser::Take(std::span<const OperatorSymbol> table) {
  for (const OperatorSymbol& symbol : table) {
    if (SkipOperator(symbol.text)) return symbol.op;
  }
  return std::nullopt;
}

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

// Operands with what `skip` passes over between them: the operand itself where
// there is one, a `type` node of them all where there are more.
template <typename Skip>
StatusOr<int> Parser::ParseJoined(NodeType type, Operand operand, Skip skip) {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, (this->*operand)());
  Children children = {first};
  while (skip()) {
    INFERD_ASSIGN_OR_RETURN(const int node, (this->*operand)());
    children.push_back(node);
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(type, line, children);
}

// The same with operators, which `next_operator` passes over and names: they stand between
// their operands in the node.
template <typename NextOperator>
StatusOr<int> Parser::ParseOperators(NodeType type, Operand operand, NextOperator next_operator) {
  const int line = current().line;
  INFERD_ASSIGN_OR_RETURN(const int first, (this->*operand)());
  Children children = {first};
  while (const std::optional<Operator> op = next_operator()) {
    INFERD_ASSIGN_OR_RETURN(const int node, (this->*operand)());
    children.insert(children.end(), {static_cast<int>(*op), node});
  }
  return children.size() == 1 ? StatusOr<int>(first) : Add(type, line, children);
}

StatusOr<int> Parser::ParseOr() {
  return ParseJoined(NodeType::kOr, &Parser::ParseAnd, [this] { return SkipName("or"); });
}

StatusOr<int> Parser::ParseAnd() {
  return ParseJoined(NodeType::kAnd, &Parser::ParseNot, [this] { return SkipName("and"); });
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
  return ParseOperators(NodeType::kCompare, &Parser::ParseSum, [this]() -> std::optional<Operator> {
    if (SkipName("in")) return Operator::kIn;
    if (IsName("not") && next().type == Type::kName && next().text == "in") {
      Advance();
      Advance();
      return Operator::kNotIn;
    }
    return Take(kComparisons);
  });
}

StatusOr<int> Parser::ParseSum() {
  return ParseOperators(NodeType::kArithmetic, &Parser::ParseConcat,
                        [this] { return Take(kSums); });
}

StatusOr<int> Parser::ParseConcat() {
  return ParseJoined(NodeType::kConcat, &Parser::ParseProduct,
                     [this] { return SkipOperator("~"); });
}

StatusOr<int> Parser::ParseProduct() {
  return ParseOperators(NodeType::kArithmetic, &Parser::ParsePower,
                        [this] { return Take(kProducts); });
}

// The operators of one chain are applied from the left, powers too.
StatusOr<int> Parser::ParsePower() {
  return ParseOperators(NodeType::kArithmetic, &Parser::ParseFiltered,
                        [this] { return Take(kPowers); });
}

StatusOr<int> Parser::ParseFiltered() { return ParseUnary(/*with_filter=*/true); }

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

}  // namespace inferd::chat_template
