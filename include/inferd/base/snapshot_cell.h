#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace inferd {

// The latest value of a plain struct, written by one thread and read by any:
// the writer never waits, a reader retries while a write is under way (a
// sequence lock whose payload is made of relaxed atomics; Boehm, "Can seqlocks
// get along with programming language memory models?", MSPC 2012).
template <typename T>
class SnapshotCell {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr size_t kWords = (sizeof(T) + 7) / 8;

 public:
  SnapshotCell() { Write(T{}); }

  // The one writer thread.
  void Write(const T& value) {
    std::array<uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof(T));
    const uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }

  // Any thread.
  T Read() const {
    std::array<uint64_t, kWords> words;
    for (;;) {
      const uint64_t before = version_.load(std::memory_order_acquire);
      for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
      const uint64_t after = version_.load(std::memory_order_relaxed);
      if (before == after && before % 2 == 0) break;
    }
    T value;
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
    return value;
  }

 private:
  std::atomic<uint64_t> version_{0};
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace inferd
