#include "model/weight_gather.h"

#include <pthread.h>

#include <algorithm>
#include <span>
#include <utility>

#include "inferd/base/check.h"

namespace inferd::model {
namespace {

// Layers gathered or on their way beside the one in use.
constexpr size_t kAhead = 1;

}  // namespace

size_t WeightGather::NumPlaces(size_t num_layers) {
  // With an odd number the last layer and the first would meet in one place.
  return std::min<size_t>(num_layers, num_layers % 2 == 0 ? 2 : 3);
}

size_t WeightGather::PlaceOf(size_t layer, size_t num_layers) {
  const bool odd_one = num_layers % 2 == 1 && num_layers > 1 && layer + 1 == num_layers;
  return odd_one ? 2 : layer % 2;
}

WeightGather::WeightGather(Communicator& link, std::vector<Layer> layers)
    : link_(link), layers_(std::move(layers)), thread_([this] { Loop(); }) {}

WeightGather::~WeightGather() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  link_.Abort();
  thread_.join();
}

Status WeightGather::Use(size_t layer) {
  std::unique_lock lock(mutex_);
  INFERD_CHECK(layer == used_ % layers_.size());
  ++used_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return gathered_ >= used_ || !broken_.ok(); });
  return gathered_ >= used_ ? OkStatus() : broken_.WithPrefix("gathering weights");
}

void WeightGather::Release(size_t /*layer*/) {
  const std::lock_guard lock(mutex_);
  ++released_;
  changed_.notify_all();
}

void WeightGather::Loop() {
  (void)pthread_setname_np(pthread_self(), "inferd-weights");
  const size_t ahead = std::min(kAhead, layers_.size() - 1);
  std::unique_lock lock(mutex_);
  for (;;) {
    // The place of the next layer is free, and somebody has begun to use layers.
    changed_.wait(lock, [&] { return stop_ || (used_ > 0 && gathered_ <= released_ + ahead); });
    if (stop_) return;
    const Layer& layer = layers_[gathered_ % layers_.size()];
    lock.unlock();
    const size_t bytes = layer.share.size() * static_cast<size_t>(link_.world_size());
    const Status status = link_.AllGather(std::span(layer.share.data(), layer.share.size()),
                                          std::span(layer.whole, bytes));
    lock.lock();
    if (!status.ok()) {
      broken_ = status;
      changed_.notify_all();
      return;
    }
    ++gathered_;
    changed_.notify_all();
  }
}

}  // namespace inferd::model
