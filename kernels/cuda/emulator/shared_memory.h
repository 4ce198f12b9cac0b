// The shared memory of one emulated block. Used by one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

namespace inferd::cuda::emulator {

class SharedMemory {
 public:
  // A new block: `dynamic_bytes` of dynamic memory and no variables yet.
  void Begin(size_t dynamic_bytes);

  unsigned char* dynamic() { return pieces_.front().data; }
  // The variable that `tag` stands for; null when the block has no room for it.
  void* Variable(const void* tag, size_t bytes, size_t alignment);
  bool GuardsIntact() const;

 private:
  struct Piece {
    const void* tag;
    std::unique_ptr<unsigned char[]> memory;
    unsigned char* data;
    size_t bytes;
  };
  void Add(const void* tag, size_t bytes);

  std::deque<Piece> pieces_;  // the dynamic memory, then variables
  size_t bytes_ = 0;
};

}  // namespace inferd::cuda::emulator
