#include "runtime/rank_group.h"

#include <poll.h>

#include <algorithm>
#include <csignal>

#include "runtime/oom_counter.h"
#include "runtime/stack_dump.h"
#include "spdlog/spdlog.h"

namespace inferd::runtime {
namespace {

// The engine thread may be about to hear why a channel broke.
constexpr int kLooksAtLoss = 4;
constexpr int kStackRounds = 20;
constexpr int kRoundMs = 25;
constexpr int kStopRounds = 80;

}  // namespace

RankGroup::~RankGroup() { Kill(); }

void RankGroup::Break(const Status& why) {
  {
    std::lock_guard lock(mutex_);
    if (!reason_.ok()) return;
    reason_ = why;
  }
  broken_.store(true, std::memory_order_release);
  // The last that ranks of other hosts hear: each has a moment to write its stacks.
  if (why.code() == StatusCode::kDeadlineExceeded) {
    for (const std::unique_ptr<HostChannel>& channel : channels_) channel->Alert();
  }
  for (const std::unique_ptr<HostChannel>& channel : channels_) channel->Abort();
}

Status RankGroup::reason() const {
  std::lock_guard lock(mutex_);
  return reason_;
}

void RankGroup::Poll(int wake_fd, int timeout_ms) {
  std::vector<pollfd> fds;
  fds.push_back({wake_fd, POLLIN, 0});
  for (const Child& child : children_) {
    const bool gone = child.process->waited();
    fds.push_back({gone ? -1 : child.process->pid_fd(), POLLIN, 0});
    fds.push_back({gone || !child.log_open ? -1 : child.process->log_fd(), POLLIN, 0});
  }
  const int happened = poll(fds.data(), fds.size(), timeout_ms);
  LookAtChannels();
  if (happened <= 0) return;
  for (size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    // Its last words come before the news of its end.
    if (fds[2 * i + 2].revents != 0) child.log_open = child.log.Read(child.process->log_fd());
    if (fds[2 * i + 1].revents != 0) Collect(child);
  }
}

void RankGroup::LookAtChannels() {
  // Of the ranks here their processes tell more.
  for (size_t rank = children_.size(); rank < size() && !broken() && !killing_; ++rank) {
    const Status health = channel(rank).health();
    if (health.ok()) continue;
    if (handed_over_ && ++looks_at_loss_ < kLooksAtLoss) return;
    Break(LastWords(rank,
                    health.WithPrefix("rank " + std::to_string(rank) + " (" + hosts_[rank] + ")")));
  }
}

Status RankGroup::LastWords(size_t rank, const Status& why) {
  if (handed_over_ || broken()) return why;
  const StatusOr<HostMessage> last = channel(rank).Receive(0);
  if (!last.ok() || static_cast<RankMessage>(last->kind) != RankMessage::kFailed) return why;
  return DecodeStatus(last->payload).WithPrefix("rank " + std::to_string(rank));
}

void RankGroup::Collect(Child& child) {
  const ChildExit end = child.process->Wait();
  if (child.log_open) child.log_open = child.log.Read(child.process->log_fd());
  child.log.Finish();
  if (killing_) return;
  std::string text = "rank " + std::to_string(child.rank) + " (process " +
                     std::to_string(child.process->pid()) + ") " + end.Text();
  if (end.signalled && end.code == SIGKILL && CountOomKills() > oom_kills_) {
    text += ": out of memory";
  }
  // What it said before it ended tells more than that it did.
  Break(LastWords(static_cast<size_t>(child.rank), UnavailableError(text)));
}

StatusOr<bool> RankGroup::AllSaid(RankMessage kind, const std::vector<RankFacts>& expected) {
  bool all = true;
  for (size_t rank = 0; rank < size(); ++rank) {
    if (said_[rank] == kind) continue;
    all = false;
    const StatusOr<HostMessage> message = channel(rank).Receive(0);
    if (message.status().code() == StatusCode::kDeadlineExceeded) continue;
    INFERD_RETURN_IF_ERROR(message.status());
    const std::string name = "rank " + std::to_string(rank);
    said_[rank] = static_cast<RankMessage>(message->kind);
    if (said_[rank] == RankMessage::kFailed) {
      return DecodeStatus(message->payload).WithPrefix(name);
    }
    if (said_[rank] != kind) {
      return Status(StatusCode::kDataLoss, name + " says something unexpected");
    }
    if (kind != RankMessage::kLoaded) continue;
    INFERD_ASSIGN_OR_RETURN(facts_[rank], DecodeFacts(message->payload));
    INFERD_RETURN_IF_ERROR(CheckSameFacts(expected[rank], facts_[rank]).WithPrefix(name));
  }
  return all;
}

Status RankGroup::WarmUp() {
  for (size_t rank = 0; rank < size(); ++rank) {
    INFERD_RETURN_IF_ERROR(channel(rank).Send(static_cast<uint32_t>(RankMessage::kWarmUp), {}));
  }
  return OkStatus();
}

bool RankGroup::AnyStopped() const {
  return std::any_of(children_.begin(), children_.end(), [](const Child& child) {
    return !child.process->waited() && IsStopped(child.process->pid());
  });
}

int64_t RankGroup::DiskBytes() const {
  int64_t sum = 0;
  for (const Child& child : children_) {
    if (!child.process->waited())
      sum += std::max<int64_t>(0, runtime::DiskBytes(child.process->pid()));
  }
  return sum;
}

void RankGroup::DumpStacks() {
  std::vector<int64_t> lines;
  for (Child& child : children_) {
    lines.push_back(child.log.num_lines());
    if (!child.process->waited()) RequestStacks(child.process->pid());
  }
  const auto num_lines = [this] {
    int64_t sum = 0;
    for (const Child& child : children_) sum += child.log.num_lines();
    return sum;
  };
  const auto all_answered = [&] {
    for (size_t i = 0; i < children_.size(); ++i) {
      const Child& child = children_[i];
      if (!child.process->waited() && child.log.num_lines() == lines[i]) return false;
    }
    return true;
  };
  int quiet = 0;  // rounds without a line
  for (int round = 0; round < kStackRounds && !(all_answered() && quiet > 2); ++round) {
    const int64_t before = num_lines();
    Poll(-1, kRoundMs);
    quiet = num_lines() == before ? quiet + 1 : 0;
  }
  if (logger_ == nullptr) return;
  if (children_.size() < size()) {
    logger_->warn("the stacks of ranks on other hosts are in the logs there");
  }
  for (size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    if (child.process->waited() || child.log.num_lines() > lines[i]) continue;
    LogThreads(*logger_, child.rank, child.process->pid());
  }
}

void RankGroup::Stop() {
  killing_ = true;
  for (const std::unique_ptr<HostChannel>& channel : channels_) {
    (void)channel->Send(static_cast<uint32_t>(RankMessage::kStop), {});
  }
  const auto any_left = [this] {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Child& child) { return !child.process->waited(); });
  };
  for (int round = 0; round < kStopRounds && any_left(); ++round) Poll(-1, kRoundMs);
  Kill();
}

void RankGroup::Kill() {
  killing_ = true;
  Break(UnavailableError("the ranks were ended"));
  for (Child& child : children_) child.process->Kill();
  for (Child& child : children_) {
    if (!child.process->waited()) Collect(child);
  }
}

}  // namespace inferd::runtime
