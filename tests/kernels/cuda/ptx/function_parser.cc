#include "kernels/cuda/ptx/function_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace inferd::cuda::ptx {

FunctionParser::FunctionParser(std::string_view text, int line, const Variables& variables,
                               const std::map<int, std::string>& files)
    : lexer_(text, line), files_(files), function_(std::make_unique<Function>()) {
  function_->variables = variables;
}

void FunctionParser::Fail(std::string_view what, const Token& token) {
  if (error_.empty()) error_ = Problem(what, token);
  lexer_.Stop();
}

void FunctionParser::Expect(std::string_view text) {
  if (lexer_.Skip(text)) return;
  Fail("'" + std::string(text) + "' is missing before", lexer_.token());
}

uint64_t FunctionParser::TakeCount() {
  const Token token = lexer_.Take();
  const std::optional<Number> number = ParseNumber(token.text);
  if (number && number->float_bytes == 0) return number->bits;
  Fail("not a number:", token);
  return 0;
}

std::unique_ptr<Function> FunctionParser::Parse(std::string* error) {
  ParseHead();
  scopes_.emplace_back();
  Expect("{");
  while (!lexer_.AtEnd() && !scopes_.empty()) ParseItem();
  if (error_.empty() && !scopes_.empty()) error_ = "a kernel without an end";
  if (error_.empty()) return std::move(function_);
  *error = function_->name + ", " + error_;
  return nullptr;
}

void FunctionParser::ParseHead() {
  function_->name = lexer_.Take().text;
  Expect("(");
  while (!lexer_.AtEnd() && !lexer_.Is(")")) {
    const Token space = lexer_.Take();
    std::string problem;
    if (!ParseVariable(lexer_, space, &function_->variables, &problem)) {
      Fail(problem, space);
      return;
    }
    lexer_.Skip(",");
  }
  Expect(")");
  while (!lexer_.AtEnd() && !lexer_.Is("{")) {
    const Token directive = lexer_.Take();
    if (directive.text == ".maxntid") {
      uint64_t threads = TakeCount();
      while (lexer_.Skip(",")) threads *= TakeCount();
      function_->max_threads = static_cast<unsigned>(threads);
    } else if (directive.text == ".minnctapersm") {
      TakeCount();
    } else {
      Fail("a directive that is not known", directive);
    }
  }
}

void FunctionParser::ParseItem() {
  const std::string_view text = lexer_.token().text;
  if (lexer_.Skip("{")) {
    if (scopes_.size() > 64) Fail("too many scopes at", lexer_.token());
    scopes_.emplace_back();
  } else if (lexer_.Skip("}")) {
    scopes_.pop_back();
  } else if (lexer_.Skip(";")) {
    // An empty statement.
  } else if (text[0] == '.') {
    ParseDirective();
  } else {
    ParseInstruction();
  }
}

void FunctionParser::ParseDirective() {
  const Token directive = lexer_.Take();
  if (directive.text == ".reg") {
    ParseRegisters();
  } else if (directive.text == ".loc") {
    ParseLocation(directive.line);
  } else if (directive.text == ".pragma") {
    // Hints: unrolling, and which bytes of a load are used.
    lexer_.Take();
    Expect(";");
  } else if (directive.text == ".shared" || directive.text == ".local") {
    std::string problem;
    if (!ParseVariable(lexer_, directive, &function_->variables, &problem)) {
      Fail(problem, directive);
    }
  } else {
    Fail("a directive that is not known", directive);
  }
}

// file line column, and where that was inlined: the last pair is the kernel's own.
void FunctionParser::ParseLocation(int line) {
  std::vector<uint64_t> numbers;
  while (!lexer_.AtEnd() && lexer_.token().line == line) {
    if (const auto number = ParseNumber(lexer_.Take().text)) numbers.push_back(number->bits);
  }
  if (numbers.size() < 2 || numbers[1] == 0) return;  // no line of the source
  const auto file = files_.find(static_cast<int>(numbers[0]));
  if (file == files_.end()) return;
  function_->sources.push_back(file->second + ":" + std::to_string(numbers[1]));
  source_ = static_cast<int>(function_->sources.size()) - 1;
}

void FunctionParser::ParseInstruction() {
  Statement statement;
  statement.line = lexer_.token().line;
  statement.source = source_;
  if (lexer_.Skip("@")) {
    statement.guarded = true;
    statement.guard_negated = lexer_.Skip("!");
    const Token name = lexer_.Take();
    Operand guard;
    if (!FindRegister(name.text, &guard) || guard.bytes != 1) Fail("not a predicate:", name);
    statement.guard = guard.slot;
  }
  const Token word = lexer_.Take();
  if (lexer_.Skip(":")) {
    const bool is_new =
        function_->labels.emplace(std::string(word.text), function_->statements.size()).second;
    if (!is_new || statement.guarded) Fail("not a label of its own:", word);
    return;
  }
  size_t begin = 0;
  while (begin <= word.text.size()) {
    const size_t end = std::min(word.text.find('.', begin), word.text.size());
    const std::string part(word.text.substr(begin, end - begin));
    if (part.empty()) Fail("not an instruction:", word);
    if (begin == 0) {
      statement.opcode = part;
    } else {
      statement.modifiers.push_back(part);
    }
    begin = end + 1;
  }
  while (!lexer_.AtEnd() && !lexer_.Is(";")) {
    statement.operands.push_back(ParseOperand());
    if (!lexer_.Skip(",")) break;
  }
  Expect(";");
  function_->statements.push_back(std::move(statement));
}

Operand FunctionParser::ParseOperand() {
  Operand operand;
  if (lexer_.Skip("[")) return ParseAddress();
  if (lexer_.Skip("{")) {
    operand.kind = Operand::Kind::kList;
    do {
      Operand item;
      const Token name = lexer_.Take();
      if (name.text == "_") {
        item.kind = Operand::Kind::kNothing;
      } else if (const auto number = ParseNumber(name.text)) {
        item.kind = Operand::Kind::kNumber;
        item.number = number->bits;
        item.bytes = number->float_bytes;
      } else if (!FindRegister(name.text, &item)) {
        Fail("not a register:", name);
      }
      operand.items.push_back(std::move(item));
    } while (lexer_.Skip(","));
    Expect("}");
    return operand;
  }
  const bool negated = lexer_.Skip("!");
  const bool minus = lexer_.Skip("-");
  const Token word = lexer_.Take();
  if (const auto number = ParseNumber(word.text)) {
    if (negated || (minus && number->float_bytes != 0)) Fail("a sign that is not known at", word);
    operand.kind = Operand::Kind::kNumber;
    operand.number = minus ? ~number->bits + 1 : number->bits;
    operand.bytes = number->float_bytes;
  } else if (minus) {
    Fail("a sign that is not known at", word);
  } else if (FindRegister(word.text, &operand)) {
    operand.negated = negated;
    if (lexer_.Skip("|")) {
      const Token name = lexer_.Take();
      Operand second;
      if (!FindRegister(name.text, &second) || second.bytes != 1) Fail("not a predicate:", name);
      operand.has_second = true;
      operand.second = second.slot;
    }
  } else if (word.text == "_") {
    operand.kind = Operand::Kind::kNothing;
  } else {
    operand.kind = Operand::Kind::kName;
    operand.name = word.text;
  }
  return operand;
}

Operand FunctionParser::ParseAddress() {
  Operand address;
  const Token word = lexer_.Take();
  Operand base;
  if (const auto number = ParseNumber(word.text)) {
    address.number = number->bits;
  } else if (FindRegister(word.text, &base)) {
    address.has_base = true;
    address.slot = base.slot;
    address.bytes = base.bytes;
  } else {
    address.name = word.text;
  }
  address.kind = Operand::Kind::kAddress;
  if (lexer_.Skip("+")) {
    const bool minus = lexer_.Skip("-");
    const uint64_t offset = TakeCount();
    address.number += minus ? ~offset + 1 : offset;
  }
  Expect("]");
  return address;
}

}  // namespace inferd::cuda::ptx
