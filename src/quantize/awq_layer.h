#pragma once

#include <vector>

#include "inferd/model/model_config.h"
#include "quantize/layer_pass.h"
#include "quantize/scale_search.h"

namespace inferd::quantize {

// A vector of the checkpoint and the type it is stored in; its values are exact
// in that type.
struct StoredVector {
  DType dtype = DType::kF32;
  std::vector<float> values;
};

// The parts of a decoder layer that change.
struct LayerMatrices {
  Matrix q, k, v, output, gate, up, down;
  StoredVector attention_norm;
  StoredVector mlp_norm;
  StoredVector v_bias;  // empty without biases
};

// Divides `vector` by `scales`, rounding to its type, and makes each scale what
// it was divided by after rounding: nothing is lost.
void DivideStored(StoredVector& vector, std::vector<float>& scales);

// Scales the inputs of the layer's matrices to be rounded with less error, and
// what produces these inputs the other way: the norms, the rows of v (for o) and
// of up (for down). The layer computes the same as before. `inputs` follow.
Status ScaleLayer(const ModelConfig& config, const SearchOptions& options, OutputError& error,
                  LayerInputs& inputs, LayerMatrices& layer);

}  // namespace inferd::quantize
