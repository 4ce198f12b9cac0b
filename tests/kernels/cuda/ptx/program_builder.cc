// Where the variables and the constants of a kernel lie.
#include "kernels/cuda/ptx/decoder.h"

namespace inferd::cuda::ptx {
namespace {

// Shared memory begins behind what sm_90 keeps for itself, and variables lie apart, so
// that an access past one of them is seen.
constexpr uint64_t kSharedBegin = 1024;
constexpr uint64_t kGap = 128;
// Zero is no address.
constexpr uint64_t kLocalBegin = 64;

uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

ProgramBuilder::ProgramBuilder(const Function& function)
    : function_(function), program_(std::make_unique<Program>()) {
  program_->name = function.name;
  program_->max_threads = function.max_threads;
  program_->sources = function.sources;
  program_->register_bytes = function.register_bytes;
  PlaceVariables();
}

void ProgramBuilder::PlaceVariables() {
  uint64_t shared = kSharedBegin;
  uint64_t local = kLocalBegin;
  bool any_local = false;
  for (const auto& [name, variable] : function_.variables) {
    if (variable.space == "param") {
      // One struct is all that a kernel here takes.
      places_[name] = {Space::kParam, AlignUp(program_->param_bytes, variable.alignment)};
      program_->param_bytes = places_[name].address + variable.bytes;
    } else if (variable.space == "local") {
      any_local = true;
      places_[name] = {Space::kLocal, local = AlignUp(local, variable.alignment)};
      local += variable.bytes;
    } else if (!variable.dynamic) {
      places_[name] = {Space::kShared, shared = AlignUp(shared, variable.alignment)};
      program_->shared.push_back({shared, shared + variable.bytes});
      shared += variable.bytes + kGap;
    }
  }
  program_->dynamic_begin = AlignUp(shared, 128);
  program_->local_bytes = any_local ? AlignUp(local, 16) : 0;
  for (const auto& [name, variable] : function_.variables) {
    if (variable.dynamic) places_[name] = {Space::kShared, program_->dynamic_begin};
  }
}

Slot ProgramBuilder::Allocate(uint8_t bytes) {
  const Slot slot = program_->register_bytes;
  program_->register_bytes += static_cast<Slot>(AlignUp(kLanes * bytes, 64));
  return slot;
}

Slot ProgramBuilder::ConstantSlot(uint64_t value, uint8_t bytes) {
  const auto [at, is_new] = constants_.try_emplace({value, bytes}, 0);
  if (is_new) {
    at->second = Allocate(bytes);
    program_->constants.push_back({at->second, bytes, value});
  }
  return at->second;
}

Slot ProgramBuilder::SpecialSlot(Special special) {
  const auto [at, is_new] = specials_.try_emplace(special, 0);
  if (is_new) {
    at->second = Allocate(4);
    program_->specials.push_back({special, at->second});
  }
  return at->second;
}

bool ProgramBuilder::FindVariable(std::string_view name, Space* space, uint64_t* address) const {
  const auto found = places_.find(name);
  if (found == places_.end()) return false;
  *space = found->second.space;
  *address = found->second.address;
  return true;
}

}  // namespace inferd::cuda::ptx
