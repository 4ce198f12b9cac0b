// Which tensors a linear layer is stored in, under each quantisation scheme:
//
//   awq    qweight I32 [in, out / 8], qzeros I32 [in / g, out / 8],
//          scales [in / g, out]
//   gptq   qweight I32 [in / 8, out], qzeros I32 [in / g, out / 8],
//          scales [in / g, out], g_idx I32 [in]
//   int8   weight I8 [out, in], weight_scale [out, 1]
//   fp8    weight F8_E4M3 [out, in], and either of weight_scale and weight_scale_inv:
//          of one value, or [out, 1], or one per block [out / b, in / c], rounded up
//
// and `weight` [out, in] in float where the layer is not quantised.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/model_config.h"
#include "model/expected_tensor.h"

namespace inferd::model {

// How the checkpoint holds the linear layer `name`; kNone: in float.
QuantMethod StoredAs(const QuantizationConfig& config, const Checkpoint& checkpoint,
                     std::string_view name);

// The scales of the fp8 layer `name`, with what follows the layer's name.
std::string Fp8ScaleName(const Checkpoint& checkpoint, std::string_view name);

// Inputs that share a scale, of rows of `in`.
int64_t GroupSize(const QuantizationConfig& config, int64_t in);

// Adds the tensors of the layer `name` [out, in] to `all`. Refuses a layer that
// is there twice, and sizes the scheme cannot hold.
Status AddLinear(const QuantizationConfig& config, const Checkpoint& checkpoint,
                 const std::string& name, int64_t out, int64_t in,
                 std::vector<ExpectedTensor>* all);

// Refuses a g_idx that is anything but 0 0 ... 1 1 ...: groups of inputs that are
// not consecutive are not supported.
Status CheckGroupIndex(const QuantizationConfig& config, const Checkpoint& checkpoint,
                       const std::string& name);

}  // namespace inferd::model
