#include "runtime/process_executor.h"

#include <sys/eventfd.h>
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

// One wait of the engine thread for a rank; there are as many as it takes.
constexpr int64_t kReceiveUs = 1'000'000;

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
      step_(kLookMs * 1000),
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
