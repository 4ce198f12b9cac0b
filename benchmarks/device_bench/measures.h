#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "inferd/backends/backend.h"
#include "options.h"
#include "random_model.h"

namespace inferd::device_bench {

// What is measured of a backend. Each writes lines of JSON to standard output; what there is no
// memory for says so in its line.
class Measures {
 public:
  Measures(Ops& ops, RandomModel& model, const Options& options)
      : ops_(ops), model_(model), options_(options) {}

  // Bytes read and written by copies within the device's memory.
  void Copy();
  // A square product of many rows: what the matrix units do at best, rounding of rows included.
  void Peak();
  // Each matrix of a layer and the head, with few rows and with many.
  void Products();
  // The other ops of a decode step, as often in a step as there are layers.
  void OtherOps();
  // Whole steps without sampling: `rows` of each sequence's `context` tokens are computed.
  void Step(const char* what, int32_t sequences, int32_t context, int32_t rows);
  // Drawing of tokens for full batches.
  void Sampling();

 private:
  struct Inputs;
  struct Seconds {
    double step;
    double host;  // of it, until all was enqueued
  };

  // The median of rounds, after a warm-up. `enqueue` is followed by waiting.
  Seconds Time(const std::function<void()>& enqueue) const;
  // The cache of every layer; empty when there is no memory for it.
  std::vector<Buffer> Caches(int32_t blocks) const;
  // One op, `times` in a decode step of `rows` sequences.
  void Op(const std::string& name, int32_t rows, int32_t context, int32_t times,
          const std::function<void(const StepPlan&, int32_t)>& op);
  Buffer Scratch(int32_t tokens, int32_t sequences);
  int64_t Widest() const;

  Ops& ops_;
  RandomModel& model_;
  const Options& options_;
};

}  // namespace inferd::device_bench
