#include "runtime/process_executor.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "inferd/plan/wire.h"
#include "runtime/remote_listener.h"
#include "runtime/stage_times.h"
#include "spdlog/spdlog.h"

namespace inferd {
namespace runtime {
namespace {

// How often the supervisor looks at the step under way, and at ranks that come up.
constexpr int kLookMs = 50;
constexpr int kStartLookMs = 10;
constexpr int64_t kLookUs = kLookMs * 1000;
// One wait of the engine thread for a rank; there are as many as it takes.
constexpr int64_t kReceiveUs = 1'000'000;
// Ranks that are started again are given this, or so many times what the first start took.
constexpr int64_t kRestartUs = 60'000'000;
constexpr int64_t kRestartFactor = 10;
// A rank that is stopped for so long while it starts does not start.
constexpr int64_t kStoppedUs = 2'000'000;
// How long the other ranks may take to say why, once one has failed.
constexpr int64_t kLastWordsUs = 500'000;

// Whether a rank says no more than that another one is gone.
bool IsEcho(const Status& status) {
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kAborted;
}

double Seconds(int64_t us) { return static_cast<double>(us) * 1e-6; }

}  // namespace

ProcessExecutor::ProcessExecutor(ProcessExecutorOptions options, std::vector<RankInfo> infos,
                                 UniqueFd listener, EntropySource& entropy, const Clock& clock,
                                 std::shared_ptr<spdlog::logger> logger)
    : options_(std::move(options)),
      infos_(std::move(infos)),
      listener_(std::move(listener)),
      entropy_(entropy),
      clock_(clock),
      logger_(logger != nullptr ? std::move(logger) : std::make_shared<spdlog::logger>("ranks")),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      backoff_(options_.first_backoff_us, options_.last_backoff_us, options_.healthy_us) {
  for (size_t i = 0; i < infos_.size(); ++i) {
    if (infos_[i].place.answers()) answering_ = i;
    facts_.push_back(FactsOf(infos_[i]));
  }
  supervisor_ = std::thread([this] { Supervise(); });
}

ProcessExecutor::~ProcessExecutor() {
  stopping_ = true;
  Wake();
  supervisor_.join();
}

Status ProcessExecutor::WaitForStart() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return started_; });
  return start_status_;
}

// ---- the engine thread ----

void ProcessExecutor::Submit(std::shared_ptr<const BatchPlan> plan) {
  if (!last_.error.ok()) return;
  INFERD_CHECK(in_flight_ < options_.max_in_flight);
  ++in_flight_;
  if (group_ == nullptr) {
    std::lock_guard lock(mutex_);
    group_ = ready_;
  }
  if (group_ == nullptr) {
    last_.error = UnavailableError("the ranks are not there");
    return;
  }
  EncodePlan(*plan, bytes_);
  for (size_t rank = 0; rank < group_->size(); ++rank) {
    const Status sent =
        group_->channel(rank).Send(static_cast<uint32_t>(RankMessage::kPlan), bytes_);
    if (!sent.ok()) {
      GiveUp(sent.WithPrefix("rank " + std::to_string(rank)));
      return;
    }
  }
}

StepResult ProcessExecutor::Await() {
  if (!last_.error.ok()) return last_;
  INFERD_CHECK(in_flight_ > 0);
  --in_flight_;
  awaited_.fetch_add(1, std::memory_order_release);
  StepResult result = Collect();
  awaited_.fetch_add(1, std::memory_order_release);
  return result;
}

StepResult ProcessExecutor::Collect() {
  StepResult answer;
  std::vector<int64_t> stage_us;
  Status error;
  for (size_t rank = 0; rank < group_->size(); ++rank) {
    StatusOr<StepResult> result =
        ReceiveResult(rank, error.ok() ? std::numeric_limits<int64_t>::max() : kLastWordsUs);
    const Status& status = result.ok() ? result->error : result.status();
    if (!status.ok() && (error.ok() || (IsEcho(error) && !IsEcho(status)))) {
      error = status.WithPrefix("rank " + std::to_string(rank));
    }
    if (result.ok()) AddStageTime(infos_[rank].place, *result, &stage_us);
    if (result.ok() && rank == answering_) answer = std::move(*result);
  }
  answer.stage_us = std::move(stage_us);
  if (error.ok()) return answer;
  GiveUp(error);
  return last_;
}

StatusOr<StepResult> ProcessExecutor::ReceiveResult(size_t rank, int64_t patience_us) {
  const int64_t begin_us = clock_.NowUs();
  for (;;) {
    const StatusOr<HostMessage> message =
        group_->channel(rank).Receive(std::min(kReceiveUs, patience_us));
    if (message.ok()) {
      const auto kind = static_cast<RankMessage>(message->kind);
      if (kind == RankMessage::kResult) {
        return DecodeResult(message->payload, infos_[rank].config.vocab_size);
      }
      if (kind == RankMessage::kFailed) return DecodeStatus(message->payload);
      return Status(StatusCode::kDataLoss, "not a result");
    }
    const bool goes_on = message.status().code() == StatusCode::kDeadlineExceeded &&
                         clock_.NowUs() - begin_us < patience_us;
    if (!goes_on) return message.status();
  }
}

// The ranks are of no use any more; the supervisor, which may know better why, ends them.
void ProcessExecutor::GiveUp(const Status& why) {
  const int64_t end_us = clock_.NowUs() + kLastWordsUs;
  while (IsEcho(why) && !group_->broken() && clock_.NowUs() < end_us) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  group_->Break(why);
  last_.error = group_->reason();
  Wake();
}

bool ProcessExecutor::Reset() {
  const uint64_t epoch = group_ != nullptr ? group_->epoch() : 0;
  if (group_ != nullptr) group_->Break(UnavailableError("the engine gave the ranks up"));
  group_.reset();
  last_ = StepResult();
  in_flight_ = 0;
  Wake();
  std::lock_guard lock(mutex_);
  // Ranks that only the engine is discontent with are on their way out.
  if (ready_ != nullptr && ready_->broken()) ready_.reset();
  acknowledged_epoch_ = std::max({acknowledged_epoch_, lost_epoch_, epoch});
  SetStateLocked();
  return !failed_;
}

bool ProcessExecutor::LimitStep(int64_t limit_us) {
  step_limit_us_.store(limit_us, std::memory_order_relaxed);
  return true;
}

void ProcessExecutor::SetWake(std::function<void()> wake) {
  std::lock_guard lock(wake_mutex_);
  engine_wake_ = std::move(wake);
}

// ---- any thread ----

void ProcessExecutor::Wake() const {
  const uint64_t one = 1;
  (void)!write(wake_fd_.get(), &one, sizeof(one));
}

void ProcessExecutor::DrainWakes() const {
  uint64_t wakes = 0;
  (void)!read(wake_fd_.get(), &wakes, sizeof(wakes));
}

void ProcessExecutor::SetStateLocked() {
  const ExecutorState state = failed_                             ? ExecutorState::kFailed
                              : lost_epoch_ > acknowledged_epoch_ ? ExecutorState::kLost
                              : ready_ != nullptr                 ? ExecutorState::kReady
                                                                  : ExecutorState::kRestarting;
  state_.store(state, std::memory_order_release);
  changed_.notify_all();
}

// ---- the supervisor ----

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
  if (first_start_us_ == 0) first_start_us_ = clock_.NowUs() - begin_us;
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
    if (StepHangs()) {
      group.Break(Status(StatusCode::kDeadlineExceeded,
                         "a step has not returned for " + std::to_string(counted_us_ / 1000) +
                             " ms, where " +
                             std::to_string(step_limit_us_.load(std::memory_order_relaxed) / 1000) +
                             " ms would be long"));
    }
  }
  return group.reason();
}

// Of the time that a step has taken only what this thread was awake for counts, at most
// two looks at a time: a process that was stopped is no rank that hangs.
bool ProcessExecutor::StepHangs() {
  const int64_t now_us = clock_.NowUs();
  const int64_t passed_us = std::min(now_us - std::exchange(last_look_us_, now_us), 2 * kLookUs);
  const uint64_t awaited = awaited_.load(std::memory_order_acquire);
  if (awaited != std::exchange(seen_awaited_, awaited) || awaited % 2 == 0) {
    counted_us_ = 0;
    return false;
  }
  counted_us_ += passed_us;
  const int64_t limit_us = step_limit_us_.load(std::memory_order_relaxed);
  return limit_us > 0 && counted_us_ > limit_us;
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

}  // namespace runtime

StatusOr<std::unique_ptr<LocalExecutor>> StartProcessExecutor(
    ProcessExecutorOptions options, std::vector<RankInfo> infos, EntropySource& entropy,
    const Clock& clock, std::shared_ptr<spdlog::logger> logger) {
  INFERD_RETURN_IF_ERROR(CheckShape(options.shape));
  INFERD_CHECK(infos.size() == static_cast<size_t>(options.shape.ranks()));
  INFERD_CHECK(!options.command.empty());
  if (options.remote.num_hosts < 1 || options.shape.ranks() % options.remote.num_hosts != 0) {
    return FailedPreconditionError(std::to_string(options.remote.num_hosts) +
                                   " hosts cannot have as many each of " +
                                   std::to_string(options.shape.ranks()) + " ranks");
  }
  UniqueFd listener;
  if (options.remote.num_hosts > 1) {
    INFERD_ASSIGN_OR_RETURN(listener, runtime::ListenForRanks(options.remote));
  }
  auto executor = std::make_unique<runtime::ProcessExecutor>(
      std::move(options), std::move(infos), std::move(listener), entropy, clock, std::move(logger));
  INFERD_RETURN_IF_ERROR(executor->WaitForStart());
  return std::unique_ptr<LocalExecutor>(std::move(executor));
}

}  // namespace inferd
