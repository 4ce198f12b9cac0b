// The parser of one kernel's text. Private to module.cc.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/ptx/lexer.h"
#include "kernels/cuda/ptx/module.h"

namespace inferd::cuda::ptx {

using Variables = std::map<std::string, Variable, std::less<>>;

// "line N: what 'text'"
std::string Problem(std::string_view what, const Token& token);

// What follows `first`, which is `.extern` or a space, up to its semicolon. False and
// `error` where it is not understood.
bool ParseVariable(Lexer& lexer, const Token& first, Variables* variables, std::string* error);

class FunctionParser {
 public:
  // `text` begins with the kernel's name, which stands in `line`.
  FunctionParser(std::string_view text, int line, const Variables& variables,
                 const std::map<int, std::string>& files);
  std::unique_ptr<Function> Parse(std::string* error);

 private:
  struct Register {
    Slot slot;
    uint8_t bytes;
    uint64_t count;  // of a numbered range, 0: a single one
  };
  using Scope = std::map<std::string, Register, std::less<>>;

  void Fail(std::string_view what, const Token& token);
  void Expect(std::string_view text);
  uint64_t TakeCount();
  void ParseHead();
  void ParseItem();
  void ParseDirective();
  void ParseRegisters();
  void ParseLocation(int line);
  void ParseInstruction();
  Operand ParseOperand();
  Operand ParseAddress();
  // Of a name; false if there is no such register.
  bool FindRegister(std::string_view name, Operand* operand) const;

  Lexer lexer_;
  const std::map<int, std::string>& files_;
  std::unique_ptr<Function> function_;
  std::vector<Scope> scopes_;
  int source_ = -1;
  std::string error_;
};

}  // namespace inferd::cuda::ptx
