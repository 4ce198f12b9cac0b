#include <sys/mman.h>

#include <cstdlib>

#include "inferd/tensor/tensor.h"

namespace inferd {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

void* HostAllocator::Allocate(size_t bytes, size_t alignment) {
  if (bytes >= 2 * kHugePage && alignment < kHugePage) alignment = kHugePage;
  if (alignment < sizeof(void*)) alignment = sizeof(void*);
  void* pointer = nullptr;
  if (posix_memalign(&pointer, alignment, bytes) != 0) return nullptr;
  // Only a wish: without huge pages everything still works.
  if (alignment == kHugePage) (void)madvise(pointer, bytes, MADV_HUGEPAGE);
  return pointer;
}

void HostAllocator::Free(void* pointer, size_t /*bytes*/) { std::free(pointer); }

}  // namespace inferd
