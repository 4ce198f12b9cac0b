#include "model/layer_stream.h"

#include <pthread.h>
#include <sys/mman.h>

#include <utility>

namespace inferd::model {
namespace {

// Since Linux 5.14; not in every libc's headers.
constexpr int kPopulateRead = 22;
constexpr size_t kPageBytes = 4096;
// At a time, so that stopping is quick.
constexpr size_t kPieceBytes = size_t{8} << 20;

}  // namespace

LayerStream::LayerStream(std::vector<Region> layers)
    : layers_(std::move(layers)),
      fetched_(layers_.size()),
      wanted_(layers_.size()),
      thread_([this] { Loop(); }) {}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status LayerStream::Use(size_t layer) {
  std::unique_lock lock(mutex_);
  next_ = layer;
  for (size_t i = 0; i <= kAhead; ++i) wanted_[(layer + i) % layers_.size()] = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return fetched_[layer]; });
  return OkStatus();
}

void LayerStream::Release(size_t layer) {
  {
    const std::lock_guard lock(mutex_);
    // With so few layers that they are all ahead of each other, they stay.
    if (layers_.size() <= kAhead + 1) return;
    fetched_[layer] = wanted_[layer] = false;
  }
  const Region& region = layers_[layer];
  (void)madvise(region.begin, region.bytes, MADV_DONTNEED);
}

void LayerStream::Loop() {
  (void)pthread_setname_np(pthread_self(), "inferd-weights");
  std::unique_lock lock(mutex_);
  for (;;) {
    size_t found = layers_.size();
    for (size_t i = 0; i < layers_.size() && found == layers_.size(); ++i) {
      const size_t layer = (next_ + i) % layers_.size();
      if (wanted_[layer] && !fetched_[layer]) found = layer;
    }
    if (stop_) return;
    if (found == layers_.size()) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    Fetch(layers_[found]);
    lock.lock();
    fetched_[found] = true;
    changed_.notify_all();
  }
}

void LayerStream::Fetch(const Region& region) const {
  for (size_t at = 0; at < region.bytes; at += kPieceBytes) {
    const size_t bytes = region.bytes - at < kPieceBytes ? region.bytes - at : kPieceBytes;
    if (madvise(region.begin + at, bytes, kPopulateRead) == 0) continue;
    (void)madvise(region.begin + at, bytes, MADV_WILLNEED);
    for (size_t page = at; page < at + bytes; page += kPageBytes) {
      (void)*static_cast<const volatile std::byte*>(region.begin + page);
    }
  }
}

}  // namespace inferd::model
