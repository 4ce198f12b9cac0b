// The text of PTX, as nvcc writes it: tokens, the kernels of a module, and the
// statements of a kernel. What the statements mean is decode.h's.
//
// Nothing is skipped that might have a meaning: a directive or a form of an operand that
// is not known is an error, which names the line. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inferd::cuda::ptx {

// A place in the register file of a warp: a byte offset, from which on the 32 lanes of a
// register follow each other. Predicates take one byte a lane.
using Slot = uint32_t;

struct Operand {
  enum class Kind : uint8_t {
    kRegister,  // slot, bytes; with `|` a predicate in `second`
    kNumber,    // number: an integer, or the bits of a float
    kName,      // name: a variable, a label, a special register
    kAddress,   // [name or register or nothing + number]
    kList,      // {items}: registers, numbers, names
    kNothing,   // _
  };
  Kind kind = Kind::kNothing;
  uint8_t bytes = 0;      // of a register's lane; of a float's bits
  bool negated = false;   // !predicate
  bool has_base = false;  // kAddress: a register
  bool has_second = false;
  Slot slot = 0;
  Slot second = 0;
  uint64_t number = 0;
  std::string name;
  std::vector<Operand> items;
};

struct Statement {
  int line = 0;     // of the module's text
  int source = -1;  // "file:line" in Function::sources
  std::string opcode;
  std::vector<std::string> modifiers;  // what follows in the name, without dots
  bool guarded = false;
  bool guard_negated = false;
  Slot guard = 0;
  std::vector<Operand> operands;
};

struct Variable {
  std::string space;  // shared, local, param
  uint64_t bytes = 0;
  uint64_t alignment = 1;
  bool dynamic = false;  // extern shared: as much as the launch says
};

// A kernel, parsed.
struct Function {
  std::string name;
  unsigned max_threads = 1024;
  Slot register_bytes = 0;  // of the whole register file
  std::vector<Statement> statements;
  std::map<std::string, size_t, std::less<>> labels;  // index of the statement behind
  // In order of their names.
  std::map<std::string, Variable, std::less<>> variables;
  std::vector<std::string> sources;
};

// A module and where its kernels are. Kernels are parsed when they are asked for.
class Module {
 public:
  // Null and `error` if the text has no sense.
  static std::unique_ptr<Module> Parse(std::string text, std::string* error);

  // Names, in the order of the text.
  const std::vector<std::string>& kernels() const { return names_; }
  // Null and `error` where there is no such kernel or it is not understood.
  std::unique_ptr<Function> ParseKernel(std::string_view name, std::string* error) const;

 private:
  struct Entry {
    size_t begin;  // of the text: at its name
    size_t end;
    int line;
  };
  std::string text_;
  std::vector<std::string> names_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, Variable, std::less<>> variables_;
  std::map<int, std::string> files_;
};

}  // namespace inferd::cuda::ptx
