#pragma once

#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd::model {

// A linear layer as the backends take it, and the memory its decoded parts are
// in. What needs no decoding points into the checkpoint. Goes before its source.
struct SourcedLinear {
  RawLinear raw;
  Buffer data;
  Buffer scales;
  Buffer zeros;
};

// Reads the linear layers of a checkpoint, however it stores them. The
// checkpoint has been checked against the configuration and outlives the source.
// One thread.
class LinearSource {
 public:
  LinearSource(const QuantizationConfig& config, const Checkpoint& checkpoint)
      : config_(config), checkpoint_(checkpoint) {}

  // The layer `name`, without the ".weight". FAILED_PRECONDITION when it holds
  // values its scheme does not allow, naming the tensor.
  StatusOr<SourcedLinear> Load(const std::string& name);

 private:
  StatusOr<SourcedLinear> LoadFloat(const std::string& name) const;
  StatusOr<SourcedLinear> LoadInt8(const std::string& name);
  StatusOr<SourcedLinear> LoadInt4(const std::string& name, bool awq);
  Status LoadScales(const std::string& name, SourcedLinear* linear);

  const QuantizationConfig config_;
  const Checkpoint& checkpoint_;
  HostAllocator allocator_;
};

std::string_view WeightFormatName(WeightFormat format);  // "f32", "int4", …

}  // namespace inferd::model
