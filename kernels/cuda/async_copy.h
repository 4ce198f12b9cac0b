// cp.async: copies from global to shared memory that go on while the thread works.
// A thread issues copies, commits them as a group, and waits for groups; then a
// barrier makes them visible to others.
#pragma once

#include "cuda/simt.h"

namespace inferd::cuda {

#ifdef __CUDACC__

SIMT_DEVICE uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
// 16 bytes; past the level-1 cache, the rest of 128 bytes to the level-2 cache, where a neighbour
// wants them. Not `valid`: zeros, and `from` is not read.
SIMT_DEVICE void CopyAsync16(void* shared, const void* from, bool valid = true) {
  asm volatile(
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)),
      "l"(from), "r"(valid ? 16 : 0)
      : "memory");
}
// 4 bytes.
SIMT_DEVICE void CopyAsync4(void* shared, const void* from, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(SharedAddress(shared)),
               "l"(from), "r"(valid ? 4 : 0)
               : "memory");
}
SIMT_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kPending of the thread's groups are outstanding.
template <int kPending>
SIMT_DEVICE void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

inline void CopyAsync16(void* shared, const void* from, bool valid = true,
                        emulator::Place place = emulator::Here()) {
  emulator::AsyncCopy(shared, from, 16, valid ? 16 : 0, place);
}
inline void CopyAsync4(void* shared, const void* from, bool valid = true,
                       emulator::Place place = emulator::Here()) {
  emulator::AsyncCopy(shared, from, 4, valid ? 4 : 0, place);
}
inline void CommitCopies() { emulator::AsyncCommit(); }
template <int kPending>
void WaitCopies() {
  emulator::AsyncWait(kPending);
}

#endif

}  // namespace inferd::cuda
