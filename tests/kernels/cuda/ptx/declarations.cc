// Variables and registers.
#include <algorithm>
#include <optional>

#include "kernels/cuda/ptx/function_parser.h"

namespace inferd::cuda::ptx {
namespace {

constexpr uint64_t kMaxRegisters = 1 << 20;
constexpr uint64_t kMaxVariableBytes = 1 << 20;

// Bytes of a type's name with its dot; 0: none. Predicates take a byte.
uint8_t TypeBytes(std::string_view type) {
  if (type == ".pred") return 1;
  if (type.size() < 3 || std::string_view("busf").find(type[1]) == std::string_view::npos) return 0;
  const std::string_view bits = type.substr(2);
  if (bits == "8") return 1;
  if (bits == "16") return 2;
  if (bits == "32") return 4;
  if (bits == "64") return 8;
  return 0;
}

}  // namespace

std::string Problem(std::string_view what, const Token& token) {
  return "line " + std::to_string(token.line) + ": " + std::string(what) + " '" +
         std::string(token.text) + "'";
}

bool ParseVariable(Lexer& lexer, const Token& first, Variables* variables, std::string* error) {
  Variable variable;
  Token space = first;
  if (first.text == ".extern") space = lexer.Take();
  if (space.text != ".shared" && space.text != ".local" && space.text != ".param") {
    *error = Problem("a space that is not known", space);
    return false;
  }
  variable.space = space.text.substr(1);
  if (lexer.Skip(".align")) {
    const auto number = ParseNumber(lexer.Take().text);
    variable.alignment = number ? number->bits : 0;
  }
  const Token type = lexer.Take();
  const uint8_t element = TypeBytes(type.text);
  if (element == 0 || type.text == ".pred" || variable.alignment == 0 || variable.alignment > 128 ||
      (variable.alignment & (variable.alignment - 1)) != 0) {
    *error = Problem("a variable's type or alignment is not known:", type);
    return false;
  }
  variable.alignment = std::max<uint64_t>(variable.alignment, element);
  const Token name = lexer.Take();
  variable.bytes = element;
  if (lexer.Skip("[")) {
    if (lexer.Is("]")) {
      variable.dynamic = true;
      variable.bytes = 0;
    } else {
      const auto count = ParseNumber(lexer.Take().text);
      variable.bytes = count && count->bits <= kMaxVariableBytes ? count->bits * element : 0;
    }
    if (!lexer.Skip("]") || (variable.bytes == 0 && !variable.dynamic)) {
      *error = Problem("an array that is not understood:", name);
      return false;
    }
  }
  if (variable.dynamic != (first.text == ".extern") ||
      !variables->emplace(std::string(name.text), variable).second) {
    *error = Problem("a variable that is not understood:", name);
    return false;
  }
  if (variable.space != "param" && !lexer.Skip(";")) {
    *error = Problem("no semicolon behind the variable", name);
    return false;
  }
  return true;
}

void FunctionParser::ParseRegisters() {
  const Token type = lexer_.Take();
  const uint8_t bytes = TypeBytes(type.text);
  if (bytes == 0) Fail("a register's type is not known:", type);
  do {
    const Token name = lexer_.Take();
    Register declared = {function_->register_bytes, bytes, 0};
    if (lexer_.Skip("<")) {
      declared.count = TakeCount();
      Expect(">");
    }
    const uint64_t count = std::max<uint64_t>(declared.count, 1);
    if (count > kMaxRegisters || function_->register_bytes > (1U << 28)) {
      Fail("too many registers", name);
      return;
    }
    function_->register_bytes += static_cast<Slot>(count * 32 * bytes);
    // Lanes of eight bytes are aligned.
    function_->register_bytes = (function_->register_bytes + 63) / 64 * 64;
    if (!scopes_.back().emplace(std::string(name.text), declared).second) {
      Fail("a register twice:", name);
    }
  } while (lexer_.Skip(","));
  Expect(";");
}

bool FunctionParser::FindRegister(std::string_view name, Operand* operand) const {
  const std::string_view stem = name.substr(0, name.find_last_not_of("0123456789") + 1);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    auto found = scope->find(name);
    uint64_t index = 0;
    if (found == scope->end() || found->second.count > 0) {
      found = scope->find(stem);
      const auto number = ParseNumber("1" + std::string(name.substr(stem.size())));
      if (found == scope->end() || stem.size() == name.size() || !number) continue;
      // With a digit before, so that zeros at the front are digits too.
      uint64_t power = 1;
      for (size_t i = stem.size(); i < name.size(); ++i) power *= 10;
      index = number->bits - power;
      if (index >= found->second.count) continue;
    }
    operand->kind = Operand::Kind::kRegister;
    operand->bytes = found->second.bytes;
    operand->slot = found->second.slot + static_cast<Slot>(index * 32 * operand->bytes);
    return true;
  }
  return false;
}

}  // namespace inferd::cuda::ptx
