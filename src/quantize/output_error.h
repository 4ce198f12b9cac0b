#pragma once

#include <cstdint>

#include "inferd/ops/ops.h"
#include "quantize/input_sample.h"
#include "quantize/matrix.h"

namespace inferd::quantize {

// How far off the outputs of a linear layer are when its weights are. One
// thread; `ops` has scratch memory for `max_rows` rows.
class OutputError {
 public:
  OutputError(Ops& ops, int64_t max_rows) : ops_(ops), max_rows_(max_rows) {}

  // The sum over the sample's rows x of |D x|^2, for the difference D [out, in].
  StatusOr<double> Of(const InputSample& sample, Matrix& difference);

 private:
  Ops& ops_;
  int64_t max_rows_;
  Buffer outputs_;
};

}  // namespace inferd::quantize
