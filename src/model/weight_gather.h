#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "inferd/comm/communicator.h"
#include "inferd/tensor/tensor.h"
#include "model/layer_source.h"

namespace inferd::model {

// Layers whose bytes are shared out over the ranks of a group: a thread gathers the next
// one while one is used. All ranks use the same layers in the same order.
class WeightGather final : public LayerSource {
 public:
  struct Layer {
    Buffer share;                // this rank's part; of the same size on every rank
    std::byte* whole = nullptr;  // where they are put together: ranks() * share.size() bytes
  };
  // Layers in memory at a time at most, as places for them.
  static size_t NumPlaces(size_t num_layers);
  // The place of a layer. A layer gets it when the one before the one before has been
  // released, whichever that is.
  static size_t PlaceOf(size_t layer, size_t num_layers);

  // `link`, which is this object's alone, and the places outlive it. Nothing is said before
  // the first layer is asked for. May throw std::system_error when there is no thread to be
  // had.
  WeightGather(Communicator& link, std::vector<Layer> layers);
  // Breaks the group: the other ranks have nothing to wait for.
  ~WeightGather() override;
  WeightGather(const WeightGather&) = delete;
  WeightGather& operator=(const WeightGather&) = delete;

  Status Use(size_t layer) override;
  void Release(size_t layer) override;

 private:
  void Loop();

  Communicator& link_;
  const std::vector<Layer> layers_;
  // How many layers were, counted over all steps: asked for, released, gathered.
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t used_ = 0;      // guarded by mutex_
  size_t released_ = 0;  // guarded by mutex_
  size_t gathered_ = 0;  // guarded by mutex_
  Status broken_;        // guarded by mutex_
  bool stop_ = false;    // guarded by mutex_
  std::thread thread_;
};

}  // namespace inferd::model
