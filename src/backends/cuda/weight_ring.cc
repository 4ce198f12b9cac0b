#include "backends/cuda/weight_ring.h"

#include <algorithm>
#include <utility>

#include "backends/cuda/device.h"

namespace inferd {
namespace {

// Of smaller pieces the calls would be the most.
constexpr size_t kLeastPiece = size_t{256} << 10;

}  // namespace

StatusOr<std::unique_ptr<WeightRing>> WeightRing::Create(int threads) {
  std::unique_ptr<WeightRing> ring(new WeightRing);
  ring->pool_ = LoadPool::Create(std::min(threads, kMostThreads));
  if (ring->pool_ == nullptr) return std::unique_ptr<WeightRing>();
  ring->slots_.resize(2 * static_cast<size_t>(ring->pool_->count()));
  ring->free_.reserve(ring->slots_.size());
  ring->filled_.reserve(ring->slots_.size());
  for (Slot& slot : ring->slots_) {
    INFERD_ASSIGN_OR_RETURN(slot.memory, PinnedBuffer::Create(kBufferBytes));
    INFERD_ASSIGN_OR_RETURN(slot.done, StreamMark::Create());
    ring->free_.push_back(&slot);
  }
  return ring;
}

void WeightRing::Fill(const Writer& write) {
  std::unique_lock lock(mutex_);
  for (;;) {
    given_.wait(lock, [this] { return next_ >= end_ || !free_.empty(); });
    if (next_ >= end_) return;
    Filled mine{free_.back(), next_, std::min(piece_, end_ - next_)};
    free_.pop_back();
    next_ += mine.count;
    if (next_ >= end_) given_.notify_all();
    ++filling_;
    lock.unlock();
    Status status =
        CatchAll([&] { return write(mine.slot->memory.data(), mine.first, mine.count); });
    lock.lock();
    --filling_;
    if (status.ok()) {
      filled_.push_back(mine);
    } else {
      free_.push_back(mine.slot);
      if (error_.ok()) error_ = std::move(status);
      next_ = end_;
      given_.notify_all();
    }
    made_.notify_one();
  }
}

void WeightRing::TakeBack(Device& device, std::vector<Slot*>* free) {
  while (!sending_.empty() && device.IsDone(sending_.front()->done)) {
    free->push_back(sending_.front());
    sending_.pop_front();
  }
}

void WeightRing::CopyMade(Device& device, std::byte* data, size_t bytes, size_t unit,
                          const Writer& write) {
  INFERD_CHECK(unit > 0 && unit <= kBufferBytes && pool_ != nullptr);
  if (bytes == 0 || !device.ok()) return;
  std::vector<Slot*> back;  // on their way to those who fill
  back.reserve(slots_.size());
  TakeBack(device, &back);
  {
    const std::lock_guard lock(mutex_);
    free_.insert(free_.end(), back.begin(), back.end());
    // As many pieces as there are buffers, so that a small matrix has work for all threads.
    const size_t share = std::max(kLeastPiece, bytes / slots_.size());
    piece_ = std::max(unit, std::min(share, kBufferBytes) / unit * unit);
    next_ = 0;
    end_ = bytes;
    error_ = OkStatus();
  }
  const std::function<void()> work = [&] { Fill(write); };
  pool_->Begin(work);
  std::vector<Filled> full;
  full.reserve(slots_.size());
  std::unique_lock lock(mutex_);
  for (size_t sent = 0; sent < bytes && error_.ok() && device.ok();) {
    if (filled_.empty() && (filling_ > 0 || !free_.empty())) {
      made_.wait(lock);
      continue;
    }
    full.swap(filled_);
    const bool wait = full.empty();  // all buffers are on their way
    lock.unlock();
    for (const Filled& one : full) {
      device.Copy(data + one.first, one.slot->memory.data(), one.count, cudaMemcpyHostToDevice);
      device.Mark(one.slot->done);
      sending_.push_back(one.slot);
      sent += one.count;
    }
    full.clear();
    if (wait) device.WaitFor(sending_.front()->done);
    back.clear();
    TakeBack(device, &back);
    lock.lock();
    free_.insert(free_.end(), back.begin(), back.end());
    given_.notify_all();
  }
  next_ = end_;
  given_.notify_all();
  lock.unlock();
  pool_->End();
  // What was filled in vain.
  for (const Filled& one : filled_) free_.push_back(one.slot);
  filled_.clear();
  if (!error_.ok()) device.Fail(error_);
}

}  // namespace inferd
