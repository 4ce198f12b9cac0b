#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "inferd/comm/host_channel.h"
#include "inferd/comm/shared_memory_group.h"
#include "inferd/runtime/process_executor.h"
#include "runtime/child_process.h"
#include "runtime/rank_log.h"
#include "runtime/rank_messages.h"

namespace inferd::runtime {

// One attempt to run the ranks: their processes, and the channels to them. The thread
// that starts it (the supervisor) owns it; the engine thread uses the channels between
// becoming ready and being broken, and whatever lasts longer of the two keeps it.
class RankGroup {
 public:
  // The ranks' processes are started and told who they are; nobody is waited for but
  // ranks of other hosts, as long as `stopping` is false. `listen_fd`: where those connect;
  // -1 without any.
  static StatusOr<std::shared_ptr<RankGroup>> Start(const ProcessExecutorOptions& options,
                                                    uint64_t epoch, int listen_fd,
                                                    const std::atomic<bool>& stopping,
                                                    EntropySource& entropy, const Clock& clock,
                                                    const std::shared_ptr<spdlog::logger>& logger);
  ~RankGroup();

  uint64_t epoch() const { return epoch_; }
  size_t size() const { return channels_.size(); }
  HostChannel& channel(size_t rank) { return *channels_[rank]; }

  // Any thread. The group is of no use any more; what is being waited for on its
  // channels ends. The first reason is kept. With DEADLINE_EXCEEDED something hangs: ranks of other
  // hosts write their stacks to the logs there.
  void Break(const Status& why);
  bool broken() const { return broken_.load(std::memory_order_acquire); }
  // Why; OK as long as it is not broken.
  Status reason() const;

  // Supervisor only, as all below.

  // Waits until something happened to a child, `wake_fd` is readable, or `timeout_ms`
  // passed; passes on what children logged, and breaks the group when one has ended, or a rank
  // of another host is lost.
  void Poll(int wake_fd, int timeout_ms);
  // What the ranks said while they come up: kLoaded and kReady. OK, and true once all
  // said `kind`.
  StatusOr<bool> AllSaid(RankMessage kind, const std::vector<RankFacts>& expected);
  // Of each rank, once all said kLoaded.
  const std::vector<RankFacts>& facts() const { return facts_; }
  Status WarmUp();
  // From now on the channels are the engine thread's.
  void HandOver() { handed_over_ = true; }

  // Whether one is stopped, as by SIGSTOP.
  bool AnyStopped() const;
  // Of the ranks of this host together; see HangCounter::Look.
  int64_t DiskBytes() const;

  // Asks the ranks of this host for their stacks, and gives them a moment to answer.
  void DumpStacks();
  // Lets the ranks end by themselves for a moment, then ends them.
  void Stop();
  // Ends them at once.
  void Kill();

 private:
  RankGroup(uint64_t epoch, const std::shared_ptr<spdlog::logger>& logger)
      : epoch_(epoch), logger_(logger) {}

  struct Child {
    int rank = 0;
    std::unique_ptr<ChildProcess> process;
    RankLog log;
    bool log_open = true;
  };

  Status StartLocal(const ProcessExecutorOptions& options, int num_local, const Clock& clock);
  Status AcceptRemote(const ProcessExecutorOptions& options, int listen_fd,
                      const std::atomic<bool>& stopping, EntropySource& entropy,
                      const Clock& clock);
  Status SendSetups(const ProcessExecutorOptions& options);
  void Collect(Child& child);
  // Breaks the group when a channel is known to be broken.
  void LookAtChannels();
  // `why`, or what rank `rank` said last, as long as the channels are not the engine's.
  Status LastWords(size_t rank, const Status& why);

  const uint64_t epoch_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::vector<Child> children_;
  std::vector<std::unique_ptr<HostChannel>> channels_;  // by world rank
  std::vector<std::string> hosts_;                      // addresses, by world rank
  std::vector<RankMessage> said_;                       // last, by world rank
  std::vector<RankFacts> facts_;                        // likewise
  int64_t oom_kills_ = 0;                               // before the start
  bool handed_over_ = false;
  int looks_at_loss_ = 0;  // since a channel was first seen broken
  bool killing_ = false;

  std::atomic<bool> broken_{false};
  mutable std::mutex mutex_;
  Status reason_;  // guarded by mutex_
};

}  // namespace inferd::runtime
