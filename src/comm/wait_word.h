#pragma once

#include <atomic>
#include <cstdint>

namespace inferd {

// A number in memory that processes may share, which goes up and can be waited for.
struct alignas(64) WaitWord {
  std::atomic<uint32_t> value;
  std::atomic<uint32_t> waiters;  // how many sleep, or did when they died
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

inline bool Reached(const WaitWord& word, uint32_t target) {
  // By difference: the numbers may wrap.
  return static_cast<int32_t>(word.value.load(std::memory_order_acquire) - target) >= 0;
}

// Spins, then yields, for some microseconds: whether `target` was reached.
bool SpinFor(const WaitWord& word, uint32_t target);
// Sets the number and wakes who sleeps on it.
void Raise(WaitWord& word, uint32_t value);
void WakeAll(WaitWord& word);
// Sleeps until woken, at most `slice_ns`; returns at once when `target` is reached.
void SleepOn(WaitWord& word, uint32_t target, int64_t slice_ns);

}  // namespace inferd
