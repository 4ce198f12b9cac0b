#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <initializer_list>
#include <map>

#include "backends/cuda/device.h"

namespace inferd {

// The ops of decode steps as graphs, one per number of rows. The caller goes on naming
// every op of a step; what becomes of them depends on how often there was such a step:
//
//   without a graph  they are launched one by one; the first of all steps also looks up
//                    what is looked up once
//   with one         they are only compared with the recorded ones, by a hash of what they
//                    are given; the graph is launched when the step's ops have ended
//
// Graphs are recorded while nobody waits, the largest first (BeginRecording); where there is
// no such time, a number of rows that came kPatience times is recorded by the step itself.
//
// Where the runtime refuses to record or to make one (memory, which graphs take outside of the
// arena, or the driver), the device gets no more of them: steps go op by op. The ops of a step that
// recorded itself are lost with its graph, and must be named once more. An error that is not of one
// call alone stays an error of the device.
//
// Graphs hold addresses: everything a step names must stay where it is. One thread.
class StepGraphs {
 public:
  explicit StepGraphs(Device& device) : device_(device) {}
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // A step of `rows` rows begins, of which there is a graph or will be.
  void Begin(int32_t rows);
  // The largest DecodeBucket up to `limit` that has no graph; 0 when all have one, or no
  // step has run yet.
  int32_t NextToRecord(int32_t limit) const;
  // Records ops that are named up to End, and launches nothing.
  void BeginRecording(int32_t rows);
  // The step's next op, with all it is given as numbers. Whether it is to be launched.
  bool Next(std::initializer_list<uint64_t> what);
  // The step's ops have ended; nothing happens when none has begun. False when they were refused,
  // and none of them has been or will be launched.
  bool End();
  // What launching one of the ops answered: whether that is taken for a refusal to record,
  // which is no error of the device.
  bool Takes(int code);

  bool active() const { return mode_ != Mode::kNone; }
  int64_t num_graphs() const { return num_graphs_; }
  int64_t replayed() const { return replayed_; }

  static constexpr int32_t kPatience = 16;

 private:
  // kNothing: recording, which the runtime would not begin.
  enum class Mode : uint8_t { kNone, kOneByOne, kRecord, kRecordOnly, kReplay, kNothing };
  struct Entry {
    int32_t seen = 0;  // steps
    cudaGraphExec_t graph = nullptr;
    uint64_t hash = 0;
  };
  bool StartCapture();
  void Record();
  void Refuse(const char* what, int code);

  Device& device_;
  Mode mode_ = Mode::kNone;
  Entry* entry_ = nullptr;
  uint64_t hash_ = 0;
  std::map<int32_t, Entry> entries_;  // by rows
  int64_t num_graphs_ = 0;
  int64_t replayed_ = 0;
};

// The number of rows that a decode step of `rows` is padded to: as few different ones
// as little waste allows. At most `limit`, which is at least `rows`.
int32_t DecodeBucket(int32_t rows, int32_t limit);

}  // namespace inferd
