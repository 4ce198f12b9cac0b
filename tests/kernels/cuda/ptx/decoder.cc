#include "kernels/cuda/ptx/decoder.h"

#include <algorithm>
#include <iterator>

namespace inferd::cuda::ptx {
namespace {

struct NamedType {
  const char* name;
  Type type;
};
constexpr NamedType kTypes[] = {
    {"pred", Type::kPred}, {"b8", Type::kB8},         {"u8", Type::kU8},
    {"s8", Type::kS8},     {"b16", Type::kB16},       {"u16", Type::kU16},
    {"s16", Type::kS16},   {"b32", Type::kB32},       {"u32", Type::kU32},
    {"s32", Type::kS32},   {"b64", Type::kB64},       {"u64", Type::kU64},
    {"s64", Type::kS64},   {"f16", Type::kF16},       {"bf16", Type::kBf16},
    {"f32", Type::kF32},   {"f64", Type::kF64},       {"f16x2", Type::kF16x2},
    {"e4m3", Type::kE4m3}, {"bf16x2", Type::kBf16x2}, {"e4m3x2", Type::kE4m3x2},
};

struct NamedSpecial {
  const char* name;
  Special special;
};
constexpr NamedSpecial kSpecials[] = {
    {"%tid.x", Special::kTidX},
    {"%tid.y", Special::kTidY},
    {"%tid.z", Special::kTidZ},
    {"%ntid.x", Special::kNtidX},
    {"%ntid.y", Special::kNtidY},
    {"%ntid.z", Special::kNtidZ},
    {"%ctaid.x", Special::kCtaidX},
    {"%ctaid.y", Special::kCtaidY},
    {"%ctaid.z", Special::kCtaidZ},
    {"%nctaid.x", Special::kNctaidX},
    {"%nctaid.y", Special::kNctaidY},
    {"%nctaid.z", Special::kNctaidZ},
    {"%laneid", Special::kLaneId},
    {"%warpid", Special::kWarpId},
    {"%lanemask_lt", Special::kLaneMaskLt},
    {"%lanemask_le", Special::kLaneMaskLe},
    {"%lanemask_gt", Special::kLaneMaskGt},
    {"%lanemask_ge", Special::kLaneMaskGe},
    {"%lanemask_eq", Special::kLaneMaskEq},
};

}  // namespace

uint8_t BytesOf(Type type) {
  switch (type) {
    case Type::kNone:
      return 0;
    case Type::kPred:
    case Type::kB8:
    case Type::kU8:
    case Type::kS8:
    case Type::kE4m3:
      return 1;
    case Type::kB16:
    case Type::kU16:
    case Type::kS16:
    case Type::kF16:
    case Type::kBf16:
    case Type::kE4m3x2:
      return 2;
    case Type::kB64:
    case Type::kU64:
    case Type::kS64:
    case Type::kF64:
      return 8;
    default:
      return 4;
  }
}

Decoder::Decoder(const Statement& statement, ProgramBuilder& builder)
    : statement_(statement), builder_(builder) {
  instruction_.line = statement.line;
  instruction_.source = statement.source;
  instruction_.guarded = statement.guarded;
  instruction_.guard_negated = statement.guard_negated;
  instruction_.guard = statement.guard;
}

void Decoder::Fail(std::string what) {
  if (error_.empty()) error_ = std::move(what);
}

void Decoder::Finish() {
  if (next_modifier_ < statement_.modifiers.size()) {
    Fail("a modifier that is not known: ." + statement_.modifiers[next_modifier_]);
  }
  if (next_operand_ != statement_.operands.size()) Fail("too many operands");
}

bool Decoder::Skip(std::string_view modifier) {
  if (Next() != modifier) return false;
  ++next_modifier_;
  return true;
}

void Decoder::SkipAny(std::initializer_list<std::string_view> modifiers) {
  while (std::find(modifiers.begin(), modifiers.end(), Next()) != modifiers.end()) {
    ++next_modifier_;
  }
}

std::string_view Decoder::Next() const {
  if (next_modifier_ >= statement_.modifiers.size()) return " ";  // no modifier
  return statement_.modifiers[next_modifier_];
}

Type Decoder::TakeType() {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const NamedType& type) { return type.name == Next(); });
  if (found == std::end(kTypes)) {
    Fail("not a type: ." + std::string(Next()));
    return Type::kNone;
  }
  ++next_modifier_;
  return found->type;
}

bool Decoder::NextIs(Operand::Kind kind) const {
  return next_operand_ < statement_.operands.size() &&
         statement_.operands[next_operand_].kind == kind;
}

const Operand& Decoder::TakeOperand() {
  static const Operand nothing;
  if (next_operand_ >= statement_.operands.size()) {
    Fail("too few operands");
    return nothing;
  }
  return statement_.operands[next_operand_++];
}

void Decoder::Put(Slot slot) {
  if (next_slot_ >= std::size(instruction_.slots)) {
    Fail("too many operands");
  } else {
    instruction_.slots[next_slot_++] = slot;
  }
}

Slot Decoder::RegisterSlot(const Operand& operand, Type type) {
  if (operand.kind != Operand::Kind::kRegister || operand.has_second || operand.negated) {
    Fail("an operand that has to be a register");
  } else if (operand.bytes != BytesOf(type)) {
    Fail("a register of another width than the instruction's");
  }
  return operand.slot;
}

Slot Decoder::SourceSlot(const Operand& operand, Type type) {
  const uint8_t bytes = BytesOf(type);
  if (operand.kind == Operand::Kind::kNumber) {
    const bool is_float = type == Type::kF32 || type == Type::kF64;
    if (operand.bytes != 0 && operand.bytes != bytes) Fail("a float of another width");
    if (operand.bytes == 0 && is_float) Fail("an integer for a float");
    const uint64_t kept = bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * bytes)) - 1;
    return builder_.ConstantSlot(operand.number & kept, bytes);
  }
  if (operand.kind == Operand::Kind::kName) {
    const auto* special =
        std::find_if(std::begin(kSpecials), std::end(kSpecials),
                     [&](const NamedSpecial& s) { return s.name == operand.name; });
    if (special != std::end(kSpecials)) {
      if (bytes != 4) Fail("a special register of another width");
      return builder_.SpecialSlot(special->special);
    }
    Space space = Space::kGeneric;
    uint64_t address = 0;
    if (bytes < 4 || !builder_.FindVariable(operand.name, &space, &address)) {
      Fail("a name that is not known: " + operand.name);
    }
    return builder_.ConstantSlot(address, bytes);
  }
  return RegisterSlot(operand, type);
}

void Decoder::Destination(Type type) { Put(RegisterSlot(TakeOperand(), type)); }
void Decoder::Source(Type type) { Put(SourceSlot(TakeOperand(), type)); }

void Decoder::Predicate() {
  Operand operand = TakeOperand();
  if (operand.kind == Operand::Kind::kRegister && operand.negated) {
    instruction_.number = 1;
    operand.negated = false;
  }
  Put(SourceSlot(operand, Type::kPred));
}

Slot Decoder::WideSlot(const Operand& operand, Type type, int index, bool source) {
  uint8_t& width = instruction_.widths[index];
  if (source && operand.kind != Operand::Kind::kRegister) {
    // A number is as wide as the rest of its list.
    const uint8_t bytes = width != 0 ? width : std::max<uint8_t>(BytesOf(type), 2);
    width = bytes;
    const Type as = bytes == 8 ? Type::kB64 : bytes == 4 ? Type::kB32 : Type::kB16;
    return SourceSlot(operand, as);
  }
  if (operand.kind != Operand::Kind::kRegister || operand.has_second || operand.negated) {
    Fail("an operand that has to be a register");
  } else if (operand.bytes < BytesOf(type)) {
    Fail("a register narrower than the instruction's type");
  } else if (width != 0 && width != operand.bytes) {
    Fail("registers of several widths");
  }
  width = operand.bytes;
  return operand.slot;
}

void Decoder::WideDestination(Type type, int index) {
  Put(WideSlot(TakeOperand(), type, index, false));
}
void Decoder::WideSource(Type type, int index) { Put(WideSlot(TakeOperand(), type, index, true)); }

void Decoder::Destinations(Type type, unsigned count) {
  const Operand& list = TakeOperand();
  if (list.kind != Operand::Kind::kList || list.items.size() != count) {
    Fail("not a list of the right length");
    return;
  }
  for (const Operand& item : list.items) Put(RegisterSlot(item, type));
}

void Decoder::Sources(Type type, unsigned count) {
  const Operand& list = TakeOperand();
  if (list.kind != Operand::Kind::kList || list.items.size() != count) {
    Fail("not a list of the right length");
    return;
  }
  for (const Operand& item : list.items) Put(SourceSlot(item, type));
}

void Decoder::Address(Space space) {
  const Operand& operand = TakeOperand();
  instruction_.space = space;
  instruction_.number = operand.number;
  instruction_.widths[2] = 8;
  if (operand.kind != Operand::Kind::kAddress) {
    Fail("not an address");
    return;
  }
  if (operand.has_base) {
    if (operand.bytes != 8 && (operand.bytes != 4 || space != Space::kShared)) {
      Fail("an address of the wrong width");
    }
    instruction_.widths[2] = operand.bytes;
    Put(operand.slot);
    return;
  }
  uint64_t address = 0;
  Space found = space;
  if (!operand.name.empty() &&
      (!builder_.FindVariable(operand.name, &found, &address) || found != space)) {
    Fail("not a variable of this space: " + operand.name);
  }
  Put(builder_.ConstantSlot(address, 8));
}

uint64_t Decoder::Immediate() {
  const Operand& operand = TakeOperand();
  if (operand.kind != Operand::Kind::kNumber || operand.bytes != 0) Fail("not an integer");
  return operand.number;
}

size_t Decoder::Target() {
  const Operand& operand = TakeOperand();
  const auto& labels = builder_.function().labels;
  const auto label = labels.find(operand.name);
  if (operand.kind != Operand::Kind::kName || label == labels.end()) {
    Fail("not a label: " + operand.name);
    return 0;
  }
  return label->second;
}

std::unique_ptr<Program> Decode(const Function& function, std::string* error) {
  ProgramBuilder builder(function);
  using Family = bool (*)(Decoder&);
  static constexpr Family kFamilies[] = {DecodeInteger, DecodeBits,    DecodeFloat,  DecodeCompare,
                                         DecodeConvert, DecodeMove,    DecodeMemory, DecodeAtomic,
                                         DecodeCopies,  DecodeControl, DecodeWarp,   DecodeMatrix};
  for (const Statement& statement : function.statements) {
    Decoder decoder(statement, builder);
    const bool known = std::any_of(std::begin(kFamilies), std::end(kFamilies),
                                   [&](Family family) { return family(decoder); });
    if (!known) {
      decoder.Fail("an instruction that is not known");
    } else {
      decoder.Finish();
    }
    if (decoder.ok() && decoder.instruction().execute == nullptr &&
        decoder.instruction().flow == Flow::kNext) {
      decoder.Fail("an instruction's type that is not known");
    }
    if (!decoder.ok()) {
      *error = function.name + ", line " + std::to_string(statement.line) + ": " + statement.opcode;
      for (const std::string& modifier : statement.modifiers) *error += "." + modifier;
      *error += ": " + decoder.error();
      return nullptr;
    }
    builder.program().code.push_back(decoder.instruction());
  }
  Instruction end;  // falling off the end is a return
  end.flow = Flow::kExit;
  end.line = function.statements.empty() ? 0 : function.statements.back().line;
  builder.program().code.push_back(end);
  return builder.Take();
}

}  // namespace inferd::cuda::ptx
