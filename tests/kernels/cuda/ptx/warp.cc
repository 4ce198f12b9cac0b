#include "kernels/cuda/ptx/warp.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/cuda/ptx/machine.h"

namespace inferd::cuda::ptx {
namespace {

constexpr size_t kAlignment = 64;
unsigned First(uint32_t lanes) { return static_cast<unsigned>(std::countr_zero(lanes)); }

}  // namespace

void Warp::Bind(Machine& machine, unsigned first_thread, unsigned lanes) {
  machine_ = &machine;
  program_ = &machine.program();
  first_thread_ = first_thread;
  exist_ = lanes == kLanes ? kEveryLane : (1U << lanes) - 1;
  const size_t words = (program_->register_bytes + kAlignment) / sizeof(uint64_t) + 1;
  if (memory_.size() < words) memory_.assign(words, ~uint64_t{0});
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  registers_ = reinterpret_cast<unsigned char*>(memory_.data()) +
               (kAlignment - address % kAlignment) % kAlignment;
  local_.assign(program_->local_bytes * kLanes, 0xFF);
  for (const Constant& constant : program_->constants) {
    uint64_t values[kLanes];
    std::fill(values, values + kLanes, constant.value);
    Write(constant.slot, constant.bytes, values, kEveryLane);
  }
}

void Warp::Begin() {
  state_ = State::kReady;
  live_ = exist_;
  waiting_ = 0;
  steps_ = 0;
  ahead_ = 0;
  DrawParting();
  pc_.fill(0);
  for (Copies& copies : copies_) {
    copies.open.clear();
    copies.groups.clear();
  }
  SetSpecials();
}

void Warp::SetSpecials() {
  const LaunchShape& shape = machine_->shape();
  const Dim3 block = machine_->block();
  const Dim3 dim = shape.block;
  for (const SpecialRegister& special : program_->specials) {
    auto* out = Lanes<uint32_t>(special.slot);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const unsigned thread = first_thread_ + lane;
      const uint32_t values[] = {thread % dim.x,
                                 thread / dim.x % dim.y,
                                 thread / (dim.x * dim.y),
                                 dim.x,
                                 dim.y,
                                 dim.z,
                                 block.x,
                                 block.y,
                                 block.z,
                                 shape.grid.x,
                                 shape.grid.y,
                                 shape.grid.z,
                                 lane,
                                 first_thread_ / kLanes,
                                 (1U << lane) - 1,
                                 (2U << lane) - 1,
                                 ~((2U << lane) - 1),
                                 ~((1U << lane) - 1),
                                 1U << lane};
      out[lane] = values[static_cast<size_t>(special.special)];
    }
  }
}

void Warp::Fail(const Instruction& instruction, unsigned lane, std::string what) {
  machine_->Fail(*this, lane, instruction, std::move(what));
}

void Warp::SetPc(uint32_t lanes, uint32_t pc) {
  for (; lanes != 0; lanes &= lanes - 1) pc_[First(lanes)] = pc;
}

uint32_t Warp::GuardedLanes(const Instruction& instruction, uint32_t lanes) {
  if (!instruction.guarded) return lanes;
  const auto* guard = Lanes<uint8_t>(instruction.guard);
  uint32_t chosen = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    chosen |= static_cast<uint32_t>((guard[lane] != 0) != instruction.guard_negated) << lane;
  }
  return chosen & lanes;
}

uint32_t Warp::ChooseLanes(uint32_t* others) {
  const uint32_t all = live_ & ~waiting_;
  if ((ahead_ & all) == 0 || ahead_turns_ == 0) {
    ahead_ = 0;
  } else {
    --ahead_turns_;
  }
  const uint32_t runnable = ahead_ != 0 ? ahead_ & all : all;
  uint32_t pc = 0xFFFFFFFFU;
  bool diverged = false;
  for (uint32_t rest = runnable; rest != 0; rest &= rest - 1) {
    const uint32_t at = pc_[First(rest)];
    diverged = diverged || (pc != 0xFFFFFFFFU && at != pc);
    pc = std::min(pc, at);
  }
  if (diverged && machine_->Draw(8) == 0) {
    // Some other, for once.
    uint32_t rest = runnable;
    for (unsigned skip = machine_->Draw(static_cast<unsigned>(std::popcount(runnable))); skip > 0;
         --skip) {
      rest &= rest - 1;
    }
    pc = pc_[First(rest)];
  }
  uint32_t chosen = 0;
  for (uint32_t rest = runnable; rest != 0; rest &= rest - 1) {
    if (pc_[First(rest)] == pc) chosen |= rest & (~rest + 1);
  }
  *others = all & ~chosen;
  return chosen;
}

void Warp::Run(uint64_t instructions) {
  uint64_t budget = instructions;
  while (!machine_->failed() && state_ == State::kReady && budget > 0) {
    if ((live_ & ~waiting_) == 0) {
      Settle();
      continue;
    }
    uint32_t others = 0;
    const uint32_t lanes = ChooseLanes(&others);
    RunTogether(lanes, others, &budget);
    if (steps_ > machine_->max_steps() && !machine_->failed()) {
      const unsigned lane = First(exist_);
      Fail(program_->code[pc_[lane]], lane, "a block makes no progress");
    }
  }
}

// Nothing keeps the lanes of a warp together but instructions that wait for all of them: now
// and then some go ahead, for some branches.
void Warp::DrawParting() {
  const unsigned scale = 1U << machine_->Draw(12);
  until_parting_ = scale + machine_->Draw(scale);
}

void Warp::Part(uint32_t lanes) {
  ahead_ = lanes & (machine_->Draw(0xFFFF) | machine_->Draw(0xFFFF) << 16);
  ahead_turns_ = 1 + machine_->Draw(32);
}

// Until they part, wait, meet others or have run long enough.
void Warp::RunTogether(uint32_t lanes, uint32_t others, uint64_t* budget) {
  const Instruction* code = program_->code.data();
  uint32_t pc = pc_[First(lanes)];
  uint32_t meet = 0xFFFFFFFFU;  // the next place where others stand
  for (uint32_t rest = others; rest != 0; rest &= rest - 1) {
    const uint32_t at = pc_[First(rest)];
    if (at > pc) meet = std::min(meet, at);
  }
  while (true) {
    const Instruction& instruction = code[pc];
    const uint32_t active = GuardedLanes(instruction, lanes);
    ++steps_;
    if (*budget > 0) --*budget;
    switch (instruction.flow) {
      case Flow::kNext:
        if (active != 0) instruction.execute(*this, instruction, active);
        ++pc;
        if (--until_parting_ == 0) {
          if (others == 0) Part(lanes);
          DrawParting();
          if (others == 0) meet = pc;
        }
        if (pc != meet && !machine_->failed()) continue;
        SetPc(lanes, pc);
        return;
      case Flow::kBranch: {
        if (active == 0) {
          ++pc;
          if (pc != meet) continue;
          SetPc(lanes, pc);
          return;
        }
        const auto target = static_cast<uint32_t>(instruction.number);
        if (active == lanes && others == 0 && *budget > 0) {
          pc = target;
          continue;
        }
        SetPc(lanes & ~active, pc + 1);
        SetPc(active, target);
        return;
      }
      case Flow::kExit:
        SetPc(lanes & ~active, pc + 1);
        Exit(instruction, active);
        return;
      case Flow::kBarrier:
      case Flow::kGather:
      case Flow::kGatherAligned:
        SetPc(lanes & ~active, pc + 1);
        SetPc(active, pc);
        waiting_ |= active;
        if (instruction.flow != Flow::kBarrier) Gather(pc);
        if (waiting_ == 0 && others == 0 && active == lanes && *budget > 0 && !machine_->failed()) {
          ++pc;
          continue;
        }
        return;
    }
  }
}

uint32_t Warp::WaitingAt(uint32_t pc) const {
  uint32_t lanes = 0;
  for (uint32_t rest = waiting_; rest != 0; rest &= rest - 1) {
    if (pc_[First(rest)] == pc) lanes |= rest & (~rest + 1);
  }
  return lanes;
}

void Warp::Gather(uint32_t pc) {
  const Instruction& instruction = program_->code[pc];
  uint32_t arrived = WaitingAt(pc);
  while (arrived != 0 && !machine_->failed()) {
    const unsigned lane = First(arrived);
    uint32_t members = kEveryLane;
    if (instruction.flow == Flow::kGatherAligned) {
      if (live_ != kEveryLane) {
        Fail(instruction, lane, "an instruction for a whole warp, some of which has ended");
        return;
      }
    } else {
      members = Lanes<uint32_t>(instruction.mask)[lane];
      if ((members >> lane & 1) == 0) {
        Fail(instruction, lane, "the lane is not in its own mask");
        return;
      }
    }
    const uint32_t wanted = members & live_;
    uint32_t same = 0;
    for (uint32_t rest = arrived & wanted; rest != 0; rest &= rest - 1) {
      const unsigned other = First(rest);
      const bool agrees = instruction.flow == Flow::kGatherAligned ||
                          Lanes<uint32_t>(instruction.mask)[other] == members;
      if (agrees) same |= 1U << other;
    }
    arrived &= ~same;
    if (same != wanted) continue;
    instruction.execute(*this, instruction, wanted);
    waiting_ &= ~wanted;
    SetPc(wanted, pc + 1);
  }
}

void Warp::Exit(const Instruction& instruction, uint32_t lanes) {
  live_ &= ~lanes;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const Copies& copies = copies_[First(rest)];
    const bool pending = std::any_of(copies.groups.begin(), copies.groups.end(),
                                     [](const auto& group) { return !group.empty(); });
    if (pending) Fail(instruction, First(rest), "asynchronous copies are never waited for");
    if (!copies.open.empty()) {
      Fail(instruction, First(rest), "asynchronous copies are never committed");
    }
  }
}

// All lanes wait or have ended: the warp is done, at a barrier, or stuck.
void Warp::Settle() {
  if (live_ == 0) {
    state_ = State::kDone;
    return;
  }
  // Who has ended is waited for no longer.
  for (uint32_t rest = waiting_; rest != 0; rest &= rest - 1) {
    const uint32_t pc = pc_[First(rest)];
    if (program_->code[pc].flow != Flow::kBarrier) Gather(pc);
    if (machine_->failed() || (live_ & ~waiting_) != 0) return;
  }
  const unsigned lane = First(live_);
  const Instruction& instruction = program_->code[pc_[lane]];
  if (WaitingAt(pc_[lane]) == live_ && instruction.flow == Flow::kBarrier) {
    state_ = State::kAtBarrier;
    return;
  }
  std::string text = "lanes wait for each other:";
  for (uint32_t rest = live_; rest != 0;) {
    const uint32_t pc = pc_[First(rest)];
    const uint32_t together = WaitingAt(pc);
    text += " " + std::to_string(std::popcount(together)) + " in line " +
            std::to_string(program_->code[pc].line) + ";";
    rest &= ~together;
  }
  Fail(instruction, lane, text);
}

void Warp::LeaveBarrier() {
  state_ = State::kReady;
  for (uint32_t rest = waiting_; rest != 0; rest &= rest - 1) ++pc_[First(rest)];
  waiting_ = 0;
}

void Warp::FailAtBarrier(const char* what) {
  const unsigned lane = First(waiting_);
  Fail(program_->code[pc_[lane]], lane, what);
}

}  // namespace inferd::cuda::ptx
