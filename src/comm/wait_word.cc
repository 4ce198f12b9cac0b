#include "comm/wait_word.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace inferd {
namespace {

// A peer that is computing the same layer comes within microseconds: spin. One that
// shares our core needs it: yield, and for longer than it takes to wake a sleeper (10 to
// 20 us); else ranks that once slept would always find each other sleeping.
constexpr int kSpins = 40;
constexpr int kYields = 100;
constexpr int64_t kNsPerSecond = 1'000'000'000;

void CpuPause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

uint32_t* FutexAddress(WaitWord& word) { return reinterpret_cast<uint32_t*>(&word.value); }

}  // namespace

bool SpinFor(const WaitWord& word, uint32_t target) {
  for (int i = 0; i < kSpins; ++i) {
    if (Reached(word, target)) return true;
    CpuPause();
  }
  for (int i = 0; i < kYields; ++i) {
    if (Reached(word, target)) return true;
    sched_yield();
  }
  return Reached(word, target);
}

void WakeAll(WaitWord& word) {
  syscall(SYS_futex, FutexAddress(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Sequentially consistent on both sides: either the raiser sees the waiter, or the
// waiter sees the new value before it sleeps.
void Raise(WaitWord& word, uint32_t value) {
  word.value.store(value, std::memory_order_seq_cst);
  if (word.waiters.load(std::memory_order_seq_cst) != 0) WakeAll(word);
}

void SleepOn(WaitWord& word, uint32_t target, int64_t slice_ns) {
  word.waiters.fetch_add(1, std::memory_order_seq_cst);
  const uint32_t seen = word.value.load(std::memory_order_seq_cst);
  if (static_cast<int32_t>(seen - target) < 0) {
    const timespec slice{slice_ns / kNsPerSecond, slice_ns % kNsPerSecond};
    syscall(SYS_futex, FutexAddress(word), FUTEX_WAIT, seen, &slice, nullptr, 0);
  }
  word.waiters.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace inferd
