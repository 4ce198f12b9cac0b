#include "kernels/cuda/ptx/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace inferd::cuda::ptx {
namespace {

constexpr size_t kMaxSharedBytes = size_t{227} * 1024;  // of a block on sm_90
constexpr size_t kGap = 128;
constexpr unsigned kLongestTurn = 4000;

uint64_t Count(Dim3 d) { return uint64_t{d.x} * d.y * d.z; }

}  // namespace

unsigned Machine::Draw(unsigned n) {
  // SplitMix64.
  uint64_t z = random_ += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return static_cast<unsigned>((z ^ (z >> 31)) >> 32) % n;
}

void Machine::Fail(const Warp& warp, unsigned lane, const Instruction& instruction,
                   std::string what) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(what) + " (" + program_->name + ", line " + std::to_string(instruction.line);
  if (instruction.source >= 0) {
    error_ += " of " + program_->sources[static_cast<size_t>(instruction.source)];
  }
  error_ += ", block " + std::to_string(block_.x) + "," + std::to_string(block_.y) + "," +
            std::to_string(block_.z) + ", thread " + std::to_string(warp.first_thread() + lane) +
            ")";
}

unsigned char* Machine::Shared(uint64_t address, uint64_t bytes) {
  if (address >= shared_.size() || bytes > shared_.size() - address) return nullptr;
  // Gaps are wider than any access.
  if (valid_[address] == 0 || valid_[address + bytes - 1] == 0) return nullptr;
  return shared_.data() + address;
}

bool Machine::Prepare(const LaunchShape& shape, const void* params) {
  const uint64_t blocks = Count(shape.grid);
  const uint64_t threads = Count(shape.block);
  uint64_t static_bytes = 0;
  for (const Program::Piece& piece : program_->shared) static_bytes += piece.end - piece.begin;
  if (blocks == 0 || blocks > uint64_t{1} << 31 || shape.grid.y > 65535 || shape.grid.z > 65535 ||
      threads == 0 || threads > program_->max_threads ||
      shape.shared_bytes + static_bytes > kMaxSharedBytes) {
    error_ = "a grid no device takes: " + program_->name;
    return false;
  }
  params_.assign(static_cast<const unsigned char*>(params),
                 static_cast<const unsigned char*>(params) + program_->param_bytes);
  const size_t window = program_->dynamic_begin + shape.shared_bytes + kGap;
  shared_.assign(window, 0xFF);
  valid_.assign(window, 0);
  const auto allow = [&](uint64_t begin, uint64_t end) {
    std::fill(valid_.begin() + static_cast<ptrdiff_t>(begin),
              valid_.begin() + static_cast<ptrdiff_t>(end), 1);
  };
  for (const Program::Piece& piece : program_->shared) allow(piece.begin, piece.end);
  allow(program_->dynamic_begin, program_->dynamic_begin + shape.shared_bytes);
  const size_t num_warps = (threads + kLanes - 1) / kLanes;
  while (warps_.size() < num_warps) warps_.push_back(std::make_unique<Warp>());
  for (size_t w = 0; w < num_warps; ++w) {
    const auto first = static_cast<unsigned>(w * kLanes);
    warps_[w]->Bind(*this, first, std::min(kLanes, static_cast<unsigned>(threads) - first));
  }
  return true;
}

const std::string* Machine::Run(const Program& program, const LaunchShape& shape,
                                const void* params, uint64_t seed) {
  program_ = &program;
  shape_ = shape;
  random_ = seed;
  failed_ = false;
  error_.clear();
  if (!Prepare(shape, params)) return &error_;
  std::vector<uint64_t> order(Count(shape.grid));
  for (uint64_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    std::swap(order[i], order[Draw(static_cast<unsigned>(i + 1))]);
  }
  for (const uint64_t i : order) {
    RunBlock({static_cast<unsigned>(i % shape.grid.x),
              static_cast<unsigned>(i / shape.grid.x % shape.grid.y),
              static_cast<unsigned>(i / shape.grid.x / shape.grid.y)});
    if (failed_) return &error_;
  }
  return nullptr;
}

void Machine::RunBlock(Dim3 block) {
  block_ = block;
  std::memset(shared_.data(), 0xFF, shared_.size());
  const auto num_warps = static_cast<unsigned>((Count(shape_.block) + kLanes - 1) / kLanes);
  for (unsigned w = 0; w < num_warps; ++w) warps_[w]->Begin();
  std::vector<unsigned> ready;
  while (!failed_) {
    ready.clear();
    for (unsigned w = 0; w < num_warps; ++w) {
      if (warps_[w]->state() == Warp::State::kReady) ready.push_back(w);
    }
    if (ready.empty()) {
      if (!ReleaseBarrier(num_warps)) return;
      continue;
    }
    Warp& warp = *warps_[ready[Draw(static_cast<unsigned>(ready.size()))]];
    warp.Run(1 + Draw(kLongestTurn));
  }
}

// No warp can run. False: all have ended, or some never will.
bool Machine::ReleaseBarrier(unsigned num_warps) {
  Warp* waits = nullptr;
  bool ended = false;
  for (unsigned w = 0; w < num_warps; ++w) {
    if (warps_[w]->state() == Warp::State::kAtBarrier) waits = warps_[w].get();
    ended = ended || warps_[w]->AnyLaneEnded();
  }
  if (waits == nullptr) return false;
  if (ended) {
    waits->FailAtBarrier("a barrier after a thread of the block has ended");
    return false;
  }
  for (unsigned w = 0; w < num_warps; ++w) warps_[w]->LeaveBarrier();
  return true;
}

}  // namespace inferd::cuda::ptx
