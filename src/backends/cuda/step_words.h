#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/device.h"

namespace inferd {

// An array of words in the device's memory, of which the host sends those that changed: as
// places and values, or, where many changed, everything between the first and the last of
// them. The array has two sections, which are sent either way each by itself: what is small and
// changes with every step, and what is large and seldom does. Host work is in proportion to
// what is put, not to the array. The rank's thread.
class StepWords {
 public:
  static constexpr int32_t kMaxDeltas = 1024;  // of a section

  // Zeros; words from `boundary` on are the second section. What it takes of memory and does not
  // get is the device's error.
  StepWords(Device& device, int64_t num_words, int64_t boundary);
  // Waits for the copies under way: they read what is let go of.
  ~StepWords();
  StepWords(const StepWords&) = delete;
  StepWords& operator=(const StepWords&) = delete;
  // Of the device's memory.
  static int64_t DeviceBytes(int64_t num_words);

  // The device's array; its address stays.
  const int32_t* on_device() const { return reinterpret_cast<const int32_t*>(words_.data()); }

  // The next step's words from `at` on; those that nobody puts stay. Within one section.
  void Put(int64_t at, std::span<const int32_t> values);
  void Put(int64_t at, int32_t value) { Put(at, std::span(&value, 1)); }
  // Enqueues what has changed since the last time.
  void Send();

  // For tests: steps sent as changes alone, steps of which a section was sent as a range, and the
  // bytes of them all.
  int64_t sent_as_deltas() const { return sent_as_deltas_; }
  int64_t sent_whole() const { return sent_whole_; }
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  struct Section {
    std::vector<int32_t> changed;  // places, the first kMaxDeltas of them
    int64_t count = 0;
    int64_t first = 0;  // of what changed
    int64_t last = 0;
  };
  struct Staged {
    PinnedBuffer ranges;   // as words_
    PinnedBuffer changes;  // places, then values
    StreamMark sent;
    bool sending = false;
  };
  Status Allocate(int64_t num_words);
  void SendRange(const Section& section, Staged* turn);
  void SendChanges(Staged* turn);

  Device& device_;
  const int64_t boundary_;
  std::vector<int32_t> mirror_;  // what the device has, or will when all is sent
  std::array<Section, 2> sections_;
  Buffer words_;
  Buffer changes_;
  std::array<Staged, kMaxSteps> staged_;  // in turn
  size_t next_staged_ = 0;
  int64_t sent_as_deltas_ = 0;
  int64_t sent_whole_ = 0;
  int64_t sent_bytes_ = 0;
};

}  // namespace inferd
