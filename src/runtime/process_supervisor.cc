// The supervisor of ranks that are processes: brings them up, looks after them, and ends them.
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "runtime/process_executor.h"
#include "spdlog/spdlog.h"

namespace inferd::runtime {
namespace {

// How often it looks at ranks that come up.
constexpr int kStartLookMs = 10;
constexpr int64_t kLookUs = kLookMs * 1000;
// Ranks that are started again are given this, or so many times what the first start took.
constexpr int64_t kRestartUs = 60'000'000;
constexpr int64_t kRestartFactor = 10;
// A rank that is stopped for so long while it starts does not start.
constexpr int64_t kStoppedUs = 2'000'000;

double Seconds(int64_t us) { return static_cast<double>(us) * 1e-6; }

}  // namespace

void ProcessExecutor::Supervise() {
  (void)pthread_setname_np(pthread_self(), "inferd-super");
  const auto publish = [this](const std::function<void()>& change) {
    {
      std::lock_guard lock(mutex_);
      change();
      SetStateLocked();
    }
    std::lock_guard lock(wake_mutex_);
    if (engine_wake_) engine_wake_();
  };
  int failed_starts = 0;
  while (!stopping_) {
    StatusOr<std::shared_ptr<RankGroup>> group = BringUp();
    if (stopping_) break;
    if (!group.ok()) {
      ++failed_starts;
      const bool first = epoch_ == 1;
      const bool last = first || failed_starts >= options_.max_failed_starts;
      if (!first) logger_->error("the ranks do not start: {}", group.status().ToString());
      publish([&] {
        failed_ = last;
        started_ = true;
        start_status_ = first ? group.status() : OkStatus();
      });
      if (last) break;
      if (!Sleep(backoff_.Next(0))) break;
      continue;
    }
    failed_starts = 0;
    const int64_t ready_us = clock_.NowUs();
    publish([&] {
      ready_ = *group;
      started_ = true;
    });
    const Status why = WatchOver(**group);
    if (stopping_) {
      (*group)->Stop();
      break;
    }
    publish([&] {
      ready_.reset();
      lost_epoch_ = epoch_;
    });
    logger_->error("ranks lost: {}; starting them again", why.ToString());
    if (why.code() == StatusCode::kDeadlineExceeded) (*group)->DumpStacks();
    (*group)->Kill();
    if (!Sleep(backoff_.Next(clock_.NowUs() - ready_us))) break;
  }
  publish([&] {
    failed_ = true;
    if (!started_) start_status_ = UnavailableError("stopped before the ranks were up");
    started_ = true;
  });
}

StatusOr<std::shared_ptr<RankGroup>> ProcessExecutor::BringUp() {
  INFERD_ASSIGN_OR_RETURN(
      std::shared_ptr<RankGroup> group,
      RankGroup::Start(options_, ++epoch_, listener_.get(), stopping_, entropy_, clock_, logger_));
  // From here on: how long other hosts take to come says nothing about loading. What was
  // loaded once is loaded again in about the same time.
  const int64_t begin_us = clock_.NowUs();
  int64_t limit_us = options_.start_timeout_us;
  if (first_start_us_ > 0) {
    limit_us = std::min(limit_us, std::max(kRestartUs, kRestartFactor * first_start_us_));
  }
  const int64_t end_us = begin_us + limit_us;
  last_look_us_ = begin_us;
  stopped_us_ = 0;
  INFERD_RETURN_IF_ERROR(AwaitAll(*group, RankMessage::kLoaded, end_us));
  INFERD_RETURN_IF_ERROR(group->WarmUp());
  INFERD_RETURN_IF_ERROR(AwaitAll(*group, RankMessage::kReady, end_us));
  group->HandOver();
  if (first_start_us_ == 0) {
    first_start_us_ = clock_.NowUs() - begin_us;
    for (size_t i = 0; i < infos_.size(); ++i) {
      infos_[i].use = group->facts()[i].memory;
      infos_[i].device = group->facts()[i].device;
      infos_[i].load_us = group->facts()[i].load_us;
    }
  }
  logger_->info("{} ready after {:.3f} s", ShapeText(options_.shape),
                Seconds(clock_.NowUs() - begin_us));
  return group;
}

Status ProcessExecutor::AwaitAll(RankGroup& group, RankMessage kind, int64_t end_us) {
  for (;;) {
    group.Poll(wake_fd_.get(), kStartLookMs);
    DrainWakes();
    if (group.broken()) return group.reason();
    if (stopping_) return UnavailableError("stopping");
    const StatusOr<bool> all = group.AllSaid(kind, facts_);
    if (all.ok() && *all) return OkStatus();
    if (!all.ok()) {
      // Whoever died may not have been collected yet.
      const int64_t patience_us = clock_.NowUs() + kLastWordsUs;
      while (IsEcho(all.status()) && !group.broken() && clock_.NowUs() < patience_us) {
        group.Poll(-1, kStartLookMs);
      }
      group.Break(all.status());
      return group.reason();
    }
    if (StartHangs(group, end_us)) {
      group.Break(Status(StatusCode::kDeadlineExceeded, "the ranks were not up in time"));
      group.DumpStacks();
      return group.reason();
    }
  }
}

// As StepHangs, of time that this thread was awake for.
bool ProcessExecutor::StartHangs(const RankGroup& group, int64_t end_us) {
  const int64_t now_us = clock_.NowUs();
  if (now_us - last_look_us_ < kLookUs) return false;
  const int64_t passed_us = std::min(now_us - std::exchange(last_look_us_, now_us), 2 * kLookUs);
  stopped_us_ = group.AnyStopped() ? stopped_us_ + passed_us : 0;
  return stopped_us_ > kStoppedUs || now_us > end_us;
}

Status ProcessExecutor::WatchOver(RankGroup& group) {
  last_look_us_ = clock_.NowUs();
  while (!group.broken() && !stopping_) {
    group.Poll(wake_fd_.get(), kLookMs);
    DrainWakes();
    if (StepHangs(group)) {
      group.Break(Status(StatusCode::kDeadlineExceeded,
                         "a step has not returned for " +
                             std::to_string(step_.counted_us() / 1000) + " ms, where " +
                             std::to_string(step_limit_us_.load(std::memory_order_relaxed) / 1000) +
                             " ms would be long"));
    }
  }
  return group.reason();
}

// What was stopped, or waits for its disk, does not hang: see HangCounter. What ranks of other
// hosts read is not known here.
bool ProcessExecutor::StepHangs(const RankGroup& group) {
  const int64_t now_us = clock_.NowUs();
  const int64_t passed_us = now_us - std::exchange(last_look_us_, now_us);
  const uint64_t awaited = awaited_.load(std::memory_order_acquire);
  if (awaited != std::exchange(seen_awaited_, awaited) || awaited % 2 == 0) {
    step_.Restart();
    return false;
  }
  step_.Look(passed_us, group.DiskBytes());
  const int64_t limit_us = step_limit_us_.load(std::memory_order_relaxed);
  return limit_us > 0 && step_.counted_us() > limit_us;
}

bool ProcessExecutor::Sleep(int64_t us) {
  const int64_t end_us = clock_.NowUs() + us;
  while (!stopping_ && clock_.NowUs() < end_us) {
    pollfd fd{wake_fd_.get(), POLLIN, 0};
    const int64_t left_ms = (end_us - clock_.NowUs()) / 1000 + 1;
    (void)poll(&fd, 1, static_cast<int>(std::clamp<int64_t>(left_ms, 0, 1000)));
    DrainWakes();
  }
  return !stopping_;
}

}  // namespace inferd::runtime
