// Runs grids of decoded kernels on the CPU: blocks one after another, the warps of a
// block by turns, the 32 lanes of a warp in lockstep as long as they stand at the same
// instruction. The order of blocks and warps and the length of turns are drawn from a seed,
// and so is which of a warp's lanes go first after they parted.
//
// Global memory is the host's. Shared memory begins as 0xFF bytes, with gaps that belong
// to nobody between variables. Errors end the grid; the text names kernel, line, block and
// thread. One grid at a time for a Machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "kernels/cuda/ptx/program.h"
#include "kernels/cuda/ptx/warp.h"

namespace inferd::cuda::ptx {

class Machine {
 public:
  // Above `max_steps` instructions of a warp in a block it makes no progress: more than any
  // kernel of a test takes.
  explicit Machine(uint64_t max_steps = 200'000'000) : max_steps_(max_steps) {}

  // Null, or what was wrong.
  const std::string* Run(const Program& program, const LaunchShape& shape, const void* params,
                         uint64_t seed);

  // ---- for warps ----
  const Program& program() const { return *program_; }
  uint64_t max_steps() const { return max_steps_; }
  bool failed() const { return failed_; }
  // `warp` and `lane` stand at `instruction`. The first error counts.
  void Fail(const Warp& warp, unsigned lane, const Instruction& instruction, std::string what);
  unsigned Draw(unsigned n);  // 0 .. n - 1
  unsigned char* params() { return params_.data(); }
  // `bytes` at `address` of the window of shared memory, or null.
  unsigned char* Shared(uint64_t address, uint64_t bytes);
  uint64_t shared_base() const { return reinterpret_cast<uint64_t>(shared_.data()); }
  uint64_t shared_size() const { return shared_.size(); }
  Dim3 block() const { return block_; }
  const LaunchShape& shape() const { return shape_; }

 private:
  bool Prepare(const LaunchShape& shape, const void* params);
  void RunBlock(Dim3 block);
  bool ReleaseBarrier(unsigned num_warps);

  const uint64_t max_steps_;
  const Program* program_ = nullptr;
  LaunchShape shape_;
  Dim3 block_;
  uint64_t random_ = 0;
  bool failed_ = false;
  std::string error_;
  std::vector<unsigned char> params_;
  std::vector<unsigned char> shared_;         // the window, from address 0 on
  std::vector<unsigned char> valid_;          // a byte for each of them
  std::vector<std::unique_ptr<Warp>> warps_;  // kept from grid to grid
};

}  // namespace inferd::cuda::ptx
