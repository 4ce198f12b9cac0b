#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "model/layer_source.h"

namespace inferd::model {

// Weights that are used where a file is mapped, a layer at a time, over and over: a
// thread brings the next layers into memory while one is used, and what was used is given
// back. The rank's thread calls it; the mapping outlives it.
class LayerStream final : public LayerSource {
 public:
  struct Region {
    std::byte* begin = nullptr;  // at a page's begin
    size_t bytes = 0;
  };
  // Layers in memory beside the one in use: fetched, or on their way.
  static constexpr size_t kAhead = 1;
  // In memory at most: those, the one in use, and the one just given back.
  static constexpr int64_t kMostLayers = kAhead + 2;

  // May throw std::system_error when there is no thread to be had.
  explicit LayerStream(std::vector<Region> layers);
  ~LayerStream() override;
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  Status Use(size_t layer) override;
  // The layer's pages are given back.
  void Release(size_t layer) override;

 private:
  void Loop();
  void Fetch(const Region& region) const;

  const std::vector<Region> layers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> fetched_;  // guarded by mutex_
  std::vector<bool> wanted_;   // guarded by mutex_
  size_t next_ = 0;            // guarded by mutex_: where the thread looks first
  bool stop_ = false;          // guarded by mutex_
  std::thread thread_;
};

}  // namespace inferd::model
