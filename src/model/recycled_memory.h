#pragma once

#include <cstddef>
#include <map>

#include "inferd/tensor/tensor.h"

namespace inferd::model {

// Host memory for what is decoded matrix by matrix: what is given back is kept for the next
// request of its size, at most kMostKept of it, because new pages have to be cleared first, by
// every thread that touches one at the same time. One thread.
class RecycledMemory final : public Allocator {
 public:
  static constexpr size_t kMostKept = size_t{256} << 20;

  RecycledMemory() = default;
  ~RecycledMemory() override;
  RecycledMemory(const RecycledMemory&) = delete;
  RecycledMemory& operator=(const RecycledMemory&) = delete;

  void* Allocate(size_t bytes, size_t alignment) override;
  void Free(void* pointer, size_t bytes) override;
  size_t kept_bytes() const { return kept_bytes_; }

 private:
  HostAllocator host_;
  std::multimap<size_t, void*> kept_;  // by size, aligned for anything
  size_t kept_bytes_ = 0;
};

}  // namespace inferd::model
