// What the decoders of instructions work with: the modifiers and operands of one
// statement, from which they make an Instruction. Every modifier has to be taken by
// someone and every operand to have a form that is asked for, or decoding fails.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/cuda/ptx/program.h"

namespace inferd::cuda::ptx {

enum class Type : uint8_t {
  kNone,
  kPred,
  kB8,
  kU8,
  kS8,
  kB16,
  kU16,
  kS16,
  kB32,
  kU32,
  kS32,
  kB64,
  kU64,
  kS64,  // NOLINT
  kF16,
  kBf16,
  kF16x2,
  kBf16x2,
  kF32,
  kF64,
  kE4m3,
  kE4m3x2,
};
uint8_t BytesOf(Type type);

// What is shared by the instructions of a kernel.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(const Function& function);

  const Function& function() const { return function_; }
  Program& program() { return *program_; }
  std::unique_ptr<Program> Take() { return std::move(program_); }
  // Registers that hold a number, or a special value, in every warp.
  Slot ConstantSlot(uint64_t value, uint8_t bytes);
  Slot SpecialSlot(Special special);
  // Of a shared, local or parameter's variable.
  bool FindVariable(std::string_view name, Space* space, uint64_t* address) const;

 private:
  Slot Allocate(uint8_t bytes);
  void PlaceVariables();

  const Function& function_;
  std::unique_ptr<Program> program_;
  std::map<std::pair<uint64_t, uint8_t>, Slot> constants_;
  std::map<Special, Slot> specials_;
  struct Place {
    Space space;
    uint64_t address;
  };
  std::map<std::string, Place, std::less<>> places_;
};

class Decoder {
 public:
  Decoder(const Statement& statement, ProgramBuilder& builder);

  Instruction& instruction() { return instruction_; }
  const std::string& opcode() const { return statement_.opcode; }
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  void Fail(std::string what);
  // Everything has been taken.
  void Finish();

  // ---- modifiers, in their order ----
  bool Skip(std::string_view modifier);                             // if it is the next one
  void SkipAny(std::initializer_list<std::string_view> modifiers);  // as many as there are
  std::string_view Next() const;                                    // empty at the end
  Type TakeType();

  // ---- operands, in their order ----
  size_t num_operands() const { return statement_.operands.size(); }
  bool NextIs(Operand::Kind kind) const;
  const Operand& TakeOperand();
  // Into the next slot, of exactly the type's width. Sources may be numbers, names of
  // variables and special registers.
  void Destination(Type type);
  void Source(Type type);
  void Predicate();  // a source; may be negated: see `negated`
  // Registers of any width from the type's on, which is noted in `widths[index]`.
  void WideDestination(Type type, int index);
  void WideSource(Type type, int index);
  // A list of `count` registers, or one register where `count` is 1.
  void Destinations(Type type, unsigned count);
  void Sources(Type type, unsigned count);
  // [base + number] for `space`; the base's width is widths[2].
  void Address(Space space);
  Slot SourceSlot(const Operand& operand, Type type);
  Slot RegisterSlot(const Operand& operand, Type type);
  Slot WideSlot(const Operand& operand, Type type, int index, bool source);
  void Put(Slot slot);
  uint64_t Immediate();
  size_t Target();
  ProgramBuilder& builder() { return builder_; }

 private:
  const Statement& statement_;
  ProgramBuilder& builder_;
  Instruction instruction_;
  size_t next_modifier_ = 0;
  size_t next_operand_ = 0;
  size_t next_slot_ = 0;
  std::string error_;
};

// Each decodes the opcodes it knows and answers whether it did; Decoder tells of errors.
bool DecodeInteger(Decoder& decoder);
bool DecodeBits(Decoder& decoder);
bool DecodeFloat(Decoder& decoder);
bool DecodeCompare(Decoder& decoder);
bool DecodeConvert(Decoder& decoder);
bool DecodeMove(Decoder& decoder);
bool DecodeMemory(Decoder& decoder);
bool DecodeAtomic(Decoder& decoder);
bool DecodeCopies(Decoder& decoder);
bool DecodeControl(Decoder& decoder);
bool DecodeWarp(Decoder& decoder);
bool DecodeMatrix(Decoder& decoder);

}  // namespace inferd::cuda::ptx
