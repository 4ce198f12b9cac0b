#pragma once

#include <cstddef>

#include "inferd/base/status.h"

namespace inferd::model {

// Layers that are not always in memory. Every step uses all of them, in order. The rank's
// thread.
class LayerSource {
 public:
  virtual ~LayerSource() = default;
  // Returns once the layer is in memory; those after it are fetched meanwhile, after the
  // last the first. An error is the last thing it says: no layer will come any more.
  virtual Status Use(size_t layer) = 0;
  // The layer is not needed until the next step.
  virtual void Release(size_t layer) = 0;
};

}  // namespace inferd::model
