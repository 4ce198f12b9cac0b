// The state of one warp of the interpreter: registers, local memory, where its lanes
// stand, and what they copy asynchronously.
//
// Lanes that stand at the same instruction run together. Those in an instruction that
// waits for others (`.sync`, barriers) do not run until all have come. Diverged lanes meet
// again because mostly those at the lowest instruction go first. Now and then a drawn part of
// them goes ahead of the others without a reason.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/ptx/program.h"

namespace inferd::cuda::ptx {

class Machine;

class Warp {
 public:
  enum class State : uint8_t { kReady, kAtBarrier, kDone };

  // Lanes from `first_thread` on; `lanes` of them exist. At each grid.
  void Bind(Machine& machine, unsigned first_thread, unsigned lanes);
  // At each block.
  void Begin();
  // Up to about `instructions` of them. On an error the machine has failed.
  void Run(uint64_t instructions);
  State state() const { return state_; }
  bool AnyLaneEnded() const { return live_ != exist_; }
  void LeaveBarrier();
  // Where it waits.
  void FailAtBarrier(const char* what);

  // ---- for instructions ----
  template <class T>
  T* Lanes(Slot slot) {
    return reinterpret_cast<T*>(registers_ + slot);
  }
  // Of a register with lanes of `bytes`: all of them, zeros above.
  void Read(Slot slot, unsigned bytes, uint64_t (&values)[kLanes]);
  void Write(Slot slot, unsigned bytes, const uint64_t (&values)[kLanes], uint32_t lanes);
  // What of a lane is at an address, or null after an error.
  unsigned char* Memory(const Instruction& instruction, unsigned lane, uint64_t address,
                        unsigned bytes);
  unsigned char* Memory(const Instruction& instruction, Space space, unsigned lane,
                        uint64_t address, unsigned bytes);
  void Fail(const Instruction& instruction, unsigned lane, std::string what);
  Machine& machine() { return *machine_; }
  unsigned first_thread() const { return first_thread_; }
  unsigned char* Local(unsigned lane);

  struct Copy {
    unsigned char* to;
    const unsigned char* from;
    uint8_t bytes;
    uint8_t valid;
    bool early;  // read at the issue
    std::array<unsigned char, 16> data;
  };
  void Issue(unsigned lane, const Copy& copy) { copies_[lane].open.push_back(copy); }
  void Commit(uint32_t lanes);
  // Until at most `pending` groups of each lane are on their way.
  void Await(uint32_t lanes, uint64_t pending);

 private:
  struct Copies {
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
  };

  uint32_t GuardedLanes(const Instruction& instruction, uint32_t lanes);
  uint32_t ChooseLanes(uint32_t* others);
  void RunTogether(uint32_t lanes, uint32_t others, uint64_t* budget);
  void DrawParting();
  void Part(uint32_t lanes);
  void SetPc(uint32_t lanes, uint32_t pc);
  // Lanes wait at `pc`; runs what all have come to.
  void Gather(uint32_t pc);
  uint32_t WaitingAt(uint32_t pc) const;
  void Exit(const Instruction& instruction, uint32_t lanes);
  // No lane can run.
  void Settle();
  void SetSpecials();

  Machine* machine_ = nullptr;
  const Program* program_ = nullptr;
  unsigned first_thread_ = 0;
  State state_ = State::kReady;
  uint32_t exist_ = 0;
  uint32_t live_ = 0;
  uint32_t waiting_ = 0;  // in an instruction for all of a mask, or at a barrier
  std::array<uint32_t, kLanes> pc_ = {};
  uint64_t steps_ = 0;
  uint32_t ahead_ = 0;  // lanes that go before the others, as long as they can
  unsigned ahead_turns_ = 0;
  uint64_t until_parting_ = 0;
  std::vector<uint64_t> memory_;  // of the registers
  unsigned char* registers_ = nullptr;
  std::vector<unsigned char> local_;
  std::array<Copies, kLanes> copies_;
};

}  // namespace inferd::cuda::ptx
