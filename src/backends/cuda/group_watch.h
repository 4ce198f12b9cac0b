#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends/cuda/device_waiter.h"
#include "backends/cuda/nccl_api.h"
#include "inferd/base/clock.h"
#include "inferd/comm/device_group.h"

namespace inferd {

// Sees to it that a rank does not wait for ever for what other ranks' GPUs do not do. A
// thread of its own looks after all communicators of the rank: when one reports an error,
// when the GPU gets nowhere for too long, or when somebody calls Fail, it aborts all of
// them, which ends their kernels, and the first reason is kept. The rank's thread learns
// of it at its next call, or in Await, even when aborting hangs.
//
// Only a rank whose thread does not come back from the driver is not helped: whoever
// supervises its process ends that.
class GroupWatch final : public DeviceWaiter {
 public:
  // One communicator.
  struct Member {
    std::mutex mutex;            // held in every call on `comm`, none of which blocks
    nccl::Comm* comm = nullptr;  // null before it is made, and once it is being aborted
  };

  // `clock` outlives it.
  GroupWatch(std::shared_ptr<const nccl::Api> api, const DeviceGroupOptions& options,
             const Clock& clock);
  ~GroupWatch() override;

  // ---- the rank's thread ----
  std::shared_ptr<Member> Add();
  // Aborts it, unless that was done, within the time that this may take.
  void Remove(const std::shared_ptr<Member>& member);
  // Work that waits for other ranks is on its way.
  void Enqueued() { state_->begun.fetch_add(1, std::memory_order_relaxed); }
  Status Await(const std::function<cudaError_t()>& query, cudaError_t* code) override;
  bool Hear(cudaError_t answer) override;

  // ---- any thread ----
  // The first one counts.
  void Fail(const Status& why);
  bool failed() const { return state_->failed.load(std::memory_order_acquire); }
  // OK as long as nothing failed.
  Status reason() const;

 private:
  // All that the thread needs: it keeps it when it hangs and is left behind.
  struct State {
    State(std::shared_ptr<const nccl::Api> api_in, const DeviceGroupOptions& options_in)
        : api(std::move(api_in)), options(options_in) {}
    const std::shared_ptr<const nccl::Api> api;
    const DeviceGroupOptions options;
    std::atomic<bool> failed{false};
    // Of the rank's thread: how often work began, how often it was seen to have ended, and
    // whether it waits.
    std::atomic<uint64_t> begun{0};
    std::atomic<uint64_t> ended{0};
    std::atomic<bool> waiting{false};

    std::mutex mutex;
    std::condition_variable changed;
    // ---- guarded by mutex ----
    Status reason;
    std::vector<std::shared_ptr<Member>> members;
    bool aborted = false;   // after a failure: all members are
    bool stopping = false;  // the thread is to end
    bool left = false;      // it has
  };
  static void Run(const std::shared_ptr<State>& state, const Clock& clock);
  static void FailState(State& state, const Status& why);
  static Status Ask(const State& state, Member& member);
  static void AbortAll(State& state);

  const Clock& clock_;
  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace inferd
