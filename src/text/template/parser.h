// Tokens to a tree. Recursive descent, no deeper than the nesting limit allows.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inferd/base/status.h"
#include "text/template/ast.h"
#include "text/template/lexer.h"

namespace inferd::chat_template {

// An operator and how it is written.
struct OperatorSymbol {
  std::string_view text;
  Operator op;
};

// Parses one token sequence once. Methods return node numbers. One thread.
class Parser {
 public:
  // `max_depth`: of nested syntax.
  Parser(std::span<const Token> tokens, int max_depth) : tokens_(tokens), max_depth_(max_depth) {}

  StatusOr<Tree> Parse();

 private:
  using Children = std::vector<int>;

  // Counts the nesting while it lives.
  class Descent {
   public:
    explicit Descent(Parser& parser) : parser_(parser) { ++parser_.depth_; }
    ~Descent() { --parser_.depth_; }
    Descent(const Descent&) = delete;
    Descent& operator=(const Descent&) = delete;

   private:
    Parser& parser_;
  };
  Status CheckDepth() const;

  // Tokens.
  const Token& current() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  void Advance() {
    if (position_ + 1 < tokens_.size()) ++position_;
  }
  bool IsName(std::string_view name) const {
    return current().type == Token::Type::kName && current().text == name;
  }
  bool IsOperator(std::string_view op) const {
    return current().type == Token::Type::kOperator && current().text == op;
  }
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  Status ExpectName(std::string_view name);
  Status ExpectOperator(std::string_view op);
  Status ExpectBlockEnd();
  Status Unexpected(std::string_view expected) const;
  Status Fail(std::string_view message) const;

  // Tree building.
  StatusOr<int> Add(NodeType type, int line, const Children& children, int value = 0,
                    uint8_t op = 0);
  int AddConstant(Value value);
  int NameId(std::string_view name);
  StatusOr<int> NameToken();  // the number of the name at hand

  // Statements (parser_statement.cc).
  StatusOr<int> ParseBlock(std::span<const std::string_view> ends);
  StatusOr<int> ParseBody(std::span<const std::string_view> ends);
  StatusOr<int> ParseStatement();
  StatusOr<int> ParseIf();
  StatusOr<int> ParseFor();
  StatusOr<int> ParseSet();
  StatusOr<int> ParseMacro();
  StatusOr<int> ParseCallBlock();
  StatusOr<int> ParseFilterBlock();
  StatusOr<int> ParseWith();
  StatusOr<int> ParseLoopControl(NodeType type);
  StatusOr<int> ParseSignatureAndBody(int line, int name, std::string_view end);
  StatusOr<int> ParseTarget(bool with_namespace);
  StatusOr<int> ParseTargetName(bool with_namespace);

  // Expressions (parser_expression.cc).
  using Operand = StatusOr<int> (Parser::*)();
  template <typename Skip>
  StatusOr<int> ParseJoined(NodeType type, Operand operand, Skip skip);
  template <typename NextOperator>
  StatusOr<int> ParseOperators(NodeType type, Operand operand, NextOperator next_operator);
  std::optional<Operator> Take(std::span<const OperatorSymbol> table);
  StatusOr<int> ParseExpression();  // with inline if
  StatusOr<int> ParseTuple(bool with_conditional, bool parentheses);
  StatusOr<int> ParseOr();
  StatusOr<int> ParseAnd();
  StatusOr<int> ParseNot();
  StatusOr<int> ParseCompare();
  StatusOr<int> ParseSum();
  StatusOr<int> ParseConcat();
  StatusOr<int> ParseProduct();
  StatusOr<int> ParsePower();
  StatusOr<int> ParseFiltered();
  StatusOr<int> ParseUnary(bool with_filter);
  bool IsTupleEnd() const;

  // Names, literals and what stands in brackets (parser_primary.cc).
  StatusOr<int> ParsePrimary();
  StatusOr<int> ParseString();
  StatusOr<int> ParseNumber();
  StatusOr<int> ParseListLiteral();
  StatusOr<int> ParseDictLiteral();

  // What follows an operand: attributes, calls, filters, tests (parser_postfix.cc).
  StatusOr<int> ParsePostfix(int node);
  StatusOr<int> ParseFilterChain(int node);
  StatusOr<int> ParseSubscript(int node);
  StatusOr<int> ParseCall(int callee);
  Status ParseArguments(Children& children);
  StatusOr<int> ParseFilter(int input);
  StatusOr<int> ParseTest(int input);
  StatusOr<std::string_view> DottedName();

  Status CheckCalledNames() const;

  std::span<const Token> tokens_;
  const int max_depth_;
  size_t position_ = 0;
  int depth_ = 0;
  int loop_depth_ = 0;
  bool uses_loop_ = false;  // whether the body at hand mentions `loop`
  uint8_t macro_uses_ = 0;  // what the macro body at hand mentions
  Tree tree_;
  std::map<std::string, int, std::less<>> name_ids_;
  std::vector<bool> assigned_;               // by name
  std::vector<std::pair<int, int>> called_;  // name, line
};

// The text a string literal (with its quotes) stands for.
StatusOr<std::string> UnescapeLiteral(std::string_view literal, int line);

}  // namespace inferd::chat_template
