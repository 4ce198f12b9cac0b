#include "model/recycled_memory.h"

#include <algorithm>

namespace inferd::model {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

RecycledMemory::~RecycledMemory() {
  for (const auto& [bytes, pointer] : kept_) host_.Free(pointer, bytes);
}

void* RecycledMemory::Allocate(size_t bytes, size_t alignment) {
  const auto kept = kept_.find(bytes);
  if (kept == kept_.end() || alignment > kAlignment) {
    return host_.Allocate(bytes, std::max(alignment, kAlignment));
  }
  void* const pointer = kept->second;
  kept_.erase(kept);
  kept_bytes_ -= bytes;
  return pointer;
}

void RecycledMemory::Free(void* pointer, size_t bytes) {
  if (pointer == nullptr) return;
  if (kept_bytes_ + bytes > kMostKept) return host_.Free(pointer, bytes);
  kept_.emplace(bytes, pointer);
  kept_bytes_ += bytes;
}

}  // namespace inferd::model
