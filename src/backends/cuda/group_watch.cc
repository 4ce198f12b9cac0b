#include "backends/cuda/group_watch.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace inferd {
namespace {

// How often the thread looks.
constexpr int64_t kLookUs = 20'000;
constexpr std::chrono::milliseconds kShortSleep{1};

// A time to wait until; not of the steady clock, whose waits race detectors do not know.
std::chrono::system_clock::time_point In(int64_t us) {
  return std::chrono::system_clock::now() + std::chrono::microseconds(us);
}

std::string Seconds(int64_t us) {
  const int64_t tenths = (us + 50'000) / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

GroupWatch::GroupWatch(std::shared_ptr<const nccl::Api> api, const DeviceGroupOptions& options,
                       const Clock& clock)
    : clock_(clock),
      state_(std::make_shared<State>(std::move(api), options)),
      thread_([state = state_, &clock] { Run(state, clock); }) {}

GroupWatch::~GroupWatch() {
  bool left = false;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
    left = state_->changed.wait_until(lock, In(state_->options.abort_timeout_us),
                                      [this] { return state_->left; });
  }
  // What does not return from aborting is left to the end of the process.
  if (left) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

std::shared_ptr<GroupWatch::Member> GroupWatch::Add() {
  auto member = std::make_shared<Member>();
  std::lock_guard lock(state_->mutex);
  state_->members.push_back(member);
  return member;
}

void GroupWatch::Remove(const std::shared_ptr<Member>& member) {
  bool open = false;
  {
    std::lock_guard lock(member->mutex);
    open = member->comm != nullptr;
  }
  if (open) Fail(Status(StatusCode::kAborted, "a group was left"));
  std::unique_lock lock(state_->mutex);
  if (state_->failed) {
    (void)state_->changed.wait_until(lock, In(state_->options.abort_timeout_us),
                                     [this] { return state_->aborted; });
  }
  std::erase(state_->members, member);
}

void GroupWatch::Fail(const Status& why) { FailState(*state_, why); }

Status GroupWatch::reason() const {
  std::lock_guard lock(state_->mutex);
  return state_->reason;
}

void GroupWatch::FailState(State& state, const Status& why) {
  std::lock_guard lock(state.mutex);
  if (!state.reason.ok()) return;
  state.reason = why;
  state.failed.store(true, std::memory_order_release);
  state.changed.notify_all();
}

Status GroupWatch::Await(const std::function<cudaError_t()>& query, cudaError_t* code) {
  (void)Hear(cudaErrorNotReady);
  int64_t failed_us = 0;
  Status status;
  for (;;) {
    *code = query();
    if (*code != cudaErrorNotReady) {
      status = reason();
      break;
    }
    if (failed()) {
      // Aborting ends what the device waits in. It gets its time, and no more.
      const int64_t now_us = clock_.NowUs();
      if (failed_us == 0) failed_us = now_us;
      if (now_us - failed_us > state_->options.abort_timeout_us) {
        status = reason();
        status = Status(status.code(), status.message() + "; the GPU does not let go of it");
        break;
      }
      std::this_thread::sleep_for(kShortSleep);
    } else {
      std::this_thread::yield();
    }
  }
  (void)Hear(cudaSuccess);
  return status;
}

bool GroupWatch::Hear(cudaError_t answer) {
  const bool waits = answer == cudaErrorNotReady;
  if (!waits) {
    state_->ended.store(state_->begun.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  state_->waiting.store(waits, std::memory_order_relaxed);
  return failed();
}

// ---- the thread ----

Status GroupWatch::Ask(const State& state, Member& member) {
  // Whoever holds it looks for itself.
  const std::unique_lock lock(member.mutex, std::try_to_lock);
  if (!lock.owns_lock() || member.comm == nullptr) return OkStatus();
  nccl::Result result = nccl::Result::kSuccess;
  const nccl::Result asked = state.api->comm_get_async_error(member.comm, &result);
  if (asked != nccl::Result::kSuccess) result = asked;
  if (result == nccl::Result::kSuccess || result == nccl::Result::kInProgress) return OkStatus();
  return nccl::ErrorStatus(*state.api, member.comm, result, "the group");
}

void GroupWatch::AbortAll(State& state) {
  std::vector<std::shared_ptr<Member>> members;
  {
    std::lock_guard lock(state.mutex);
    members = state.members;
  }
  std::vector<nccl::Comm*> comms;
  for (const std::shared_ptr<Member>& member : members) {
    std::unique_lock lock(member->mutex, std::defer_lock);
    for (int64_t us = 0; !lock.try_lock() && us < state.options.abort_timeout_us; us += 1000) {
      std::this_thread::sleep_for(kShortSleep);
    }
    // Not while somebody is in it: it is gone afterwards.
    if (!lock.owns_lock() || member->comm == nullptr) continue;
    comms.push_back(std::exchange(member->comm, nullptr));
  }
  // At once: a kernel of one may stand behind that of another.
  if (!comms.empty()) (void)state.api->group_start();
  for (nccl::Comm* comm : comms) (void)state.api->comm_abort(comm);
  if (!comms.empty()) (void)state.api->group_end();
}

void GroupWatch::Run(const std::shared_ptr<State>& state, const Clock& clock) {
  (void)pthread_setname_np(pthread_self(), "inferd-groups");
  int64_t last_us = clock.NowUs();
  int64_t counted_us = 0;
  uint64_t seen_ended = 0;
  std::unique_lock lock(state->mutex);
  while (!state->stopping && !state->failed) {
    (void)state->changed.wait_until(lock, In(kLookUs),
                                    [&] { return state->stopping || state->failed; });
    const std::vector<std::shared_ptr<Member>> members = state->members;
    lock.unlock();
    for (const std::shared_ptr<Member>& member : members) {
      const Status status = Ask(*state, *member);
      if (!status.ok()) FailState(*state, status);
    }
    // Of the time that passed only what this thread was awake for counts, at most two
    // looks at a time: a process that was stopped is no GPU that hangs.
    const int64_t now_us = clock.NowUs();
    const int64_t passed_us = std::min(now_us - std::exchange(last_us, now_us), 2 * kLookUs);
    const uint64_t ended = state->ended.load(std::memory_order_relaxed);
    const bool busy = state->waiting.load(std::memory_order_relaxed) ||
                      state->begun.load(std::memory_order_relaxed) != ended;
    counted_us = busy && ended == std::exchange(seen_ended, ended) ? counted_us + passed_us : 0;
    if (counted_us > state->options.step_timeout_us) {
      FailState(*state,
                Status(StatusCode::kDeadlineExceeded,
                       "NCCL: the GPU has waited for other ranks for " + Seconds(counted_us)));
    }
    lock.lock();
  }
  if (state->failed) {
    lock.unlock();
    AbortAll(*state);
    lock.lock();
    state->aborted = true;
  }
  state->left = true;
  state->changed.notify_all();
}

}  // namespace inferd
