// Registers, addresses and asynchronous copies of a warp.
#include <bit>
#include <utility>

#include "kernels/cuda/ptx/machine.h"
#include "kernels/cuda/ptx/warp.h"

namespace inferd::cuda::ptx {
namespace {

// No memory of a process lies below.
constexpr uint64_t kNullBytes = 65536;

unsigned First(uint32_t lanes) { return static_cast<unsigned>(std::countr_zero(lanes)); }

}  // namespace

void Warp::Read(Slot slot, unsigned bytes, uint64_t (&values)[kLanes]) {
  const auto copy = [&]<class T>(T) {
    const T* from = Lanes<T>(slot);
    for (unsigned lane = 0; lane < kLanes; ++lane) values[lane] = from[lane];
  };
  if (bytes == 1) copy(uint8_t{});
  if (bytes == 2) copy(uint16_t{});
  if (bytes == 4) copy(uint32_t{});
  if (bytes == 8) copy(uint64_t{});
}

void Warp::Write(Slot slot, unsigned bytes, const uint64_t (&values)[kLanes], uint32_t lanes) {
  const auto copy = [&]<class T>(T) {
    T* to = Lanes<T>(slot);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if ((lanes >> lane & 1) != 0) to[lane] = static_cast<T>(values[lane]);
    }
  };
  if (bytes == 1) copy(uint8_t{});
  if (bytes == 2) copy(uint16_t{});
  if (bytes == 4) copy(uint32_t{});
  if (bytes == 8) copy(uint64_t{});
}

unsigned char* Warp::Local(unsigned lane) { return local_.data() + lane * program_->local_bytes; }

unsigned char* Warp::Memory(const Instruction& instruction, unsigned lane, uint64_t address,
                            unsigned bytes) {
  return Memory(instruction, instruction.space, lane, address, bytes);
}

unsigned char* Warp::Memory(const Instruction& instruction, Space space, unsigned lane,
                            uint64_t address, unsigned bytes) {
  const auto at = [&](const char* what) -> unsigned char* {
    Fail(instruction, lane, what + (" at address " + std::to_string(address)));
    return nullptr;
  };
  if (address % bytes != 0) return at("a misaligned access");
  if (space == Space::kGeneric) {
    const auto local = reinterpret_cast<uint64_t>(local_.data());
    if (address - machine_->shared_base() < machine_->shared_size()) {
      space = Space::kShared;
      address -= machine_->shared_base();
    } else if (address - local < local_.size()) {
      if ((address - local) / program_->local_bytes != lane) {
        return at("another thread's local memory");
      }
      space = Space::kLocal;
      address = (address - local) % program_->local_bytes;
    } else {
      space = Space::kGlobal;
    }
  }
  switch (space) {
    case Space::kShared: {
      unsigned char* data = machine_->Shared(address, bytes);
      return data != nullptr ? data : at("an access outside of shared memory");
    }
    case Space::kLocal:
      if (address + bytes > program_->local_bytes || address + bytes < address) {
        return at("an access outside of local memory");
      }
      return Local(lane) + address;
    case Space::kParam:
      if (address + bytes > program_->param_bytes || address + bytes < address) {
        return at("an access outside of the parameters");
      }
      return machine_->params() + address;
    default:
      if (address < kNullBytes || address >> 47 != 0) {
        return at("an access to global memory that is none");
      }
      return reinterpret_cast<unsigned char*>(address);
  }
}

void Warp::Commit(uint32_t lanes) {
  for (; lanes != 0; lanes &= lanes - 1) {
    Copies& copies = copies_[First(lanes)];
    copies.groups.push_back(std::move(copies.open));
    copies.open.clear();
  }
}

void Warp::Await(uint32_t lanes, uint64_t pending) {
  for (; lanes != 0; lanes &= lanes - 1) {
    auto& groups = copies_[First(lanes)].groups;
    const size_t done = groups.size() > pending ? groups.size() - pending : 0;
    for (size_t g = 0; g < done; ++g) {
      for (Copy& copy : groups[g]) {
        if (!copy.early) std::memcpy(copy.data.data(), copy.from, copy.valid);
        std::memcpy(copy.to, copy.data.data(), copy.bytes);
      }
    }
    groups.erase(groups.begin(), groups.begin() + static_cast<ptrdiff_t>(done));
  }
}

}  // namespace inferd::cuda::ptx
