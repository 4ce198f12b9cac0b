#include "cuda/emulator/shared_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace inferd::cuda::emulator {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr size_t kAlignment = 128;
constexpr unsigned char kGuard = 0xA5;
constexpr unsigned char kPoison = 0xFF;
constexpr size_t kMaxBytes = size_t{227} * 1024;  // of a block on sm_90

}  // namespace

void SharedMemory::Add(const void* tag, size_t bytes) {
  Piece piece{tag, std::make_unique<unsigned char[]>(bytes + 2 * kGuardBytes + kAlignment), nullptr,
              bytes};
  const auto address = reinterpret_cast<uintptr_t>(piece.memory.get()) + kGuardBytes;
  piece.data = piece.memory.get() + kGuardBytes + (kAlignment - address % kAlignment) % kAlignment;
  std::memset(piece.data - kGuardBytes, kGuard, kGuardBytes);
  std::memset(piece.data, kPoison, bytes);
  std::memset(piece.data + bytes, kGuard, kGuardBytes);
  bytes_ += bytes;
  pieces_.push_back(std::move(piece));
}

void SharedMemory::Begin(size_t dynamic_bytes) {
  pieces_.clear();
  bytes_ = 0;
  Add(nullptr, dynamic_bytes);
}

void* SharedMemory::Variable(const void* tag, size_t bytes, size_t alignment) {
  for (Piece& piece : pieces_) {
    if (piece.tag == tag) return piece.data;
  }
  if (bytes_ + bytes > kMaxBytes || alignment > kAlignment) return nullptr;
  Add(tag, bytes);
  return pieces_.back().data;
}

bool SharedMemory::GuardsIntact() const {
  const auto is_guard = [](unsigned char byte) { return byte == kGuard; };
  return std::all_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    const unsigned char* end = piece.data + piece.bytes;
    return std::all_of(piece.data - kGuardBytes, piece.data, is_guard) &&
           std::all_of(end, end + kGuardBytes, is_guard);
  });
}

}  // namespace inferd::cuda::emulator
