// Which fault strikes which rank where, in memory that the test shares with the ranks' processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "inferd/base/unique_fd.h"

namespace inferd::testing {

// Points in the life of a rank and in a step, in their order.
enum class Phase : uint8_t {
  kStart,           // its process runs and has said nothing
  kMeeting,         // it has its setup and is among the ranks of its group that come together
  kLoading,         // some of its weights are packed
  kWarmUp,          // in the attention of the warm-up
  kIdle,            // nothing is under way
  kPlanWaiting,     // a plan is in its channel, unread
  kPlanRead,        // the plan is decoded, and nothing of it done
  kPrefill,         // in the last attention of a step with prompts
  kDecode,          // the same of a step that only decodes
  kBeforeSum,       // the others are in a collective of its stage, or about to be
  kInSum,           // it waits in it; the others have not come
  kAfterSum,        // it has the sum; others may be without
  kBeforeHandOver,  // its stage is done, the next has not got it
  kInHandOver,      // it waits for the stage before
  kAfterHandOver,   // it has what the stage before sent
  kResultReady,     // the step is computed, nothing of the result sent
  kResultSent,      // the result is sent, the engine has not read it
  kStop,            // its end: the engine has let go of it
};
inline constexpr int kNumPhases = 18;
const char* NameOf(Phase phase);

enum class Fault : uint8_t {
  kKill,          // SIGKILL
  kSegv,          // SIGSEGV
  kStop,          // SIGSTOP, for good
  kMemory,        // no page more: its next large allocation fails
  kPause,         // SIGSTOP, and SIGCONT later
  kCloseEngine,   // its sockets to the engine are shut down
  kCloseRanks,    // those to other ranks
  kWrongVersion,  // it says that it is of another version of the program; at kStart only
  kHold,          // it waits there until the test has done something
};
inline constexpr int kNumFaults = 9;
const char* NameOf(Fault fault);

// Strikes the rank when it passes the phase and has passed it `nth` times in this life of its.
// At kStart ranks have no numbers: there it is the process that comes as number `rank`.
struct Strike {
  Phase phase = Phase::kDecode;
  Fault fault = Fault::kKill;
  int rank = 0;
  int nth = 0;
};

// Strikes come one after the other, each once, over all lives of the ranks.
class Scene {
 public:
  static constexpr int kMaxStrikes = 4;

  // Written by the test before there are ranks.
  Strike strikes[kMaxStrikes];
  int num_strikes = 0;
  int port = 0;  // of the engine, for ranks of other hosts

  std::atomic<int> turn{0};      // the strike that is next
  std::atomic<int> arrivals{0};  // processes at kStart, since it is the turn of a strike there
  std::atomic<int64_t> struck_us[kMaxStrikes] = {};
  std::atomic<int> stopped_pid{0};  // of the rank that stopped last
  std::atomic<bool> idle{false};    // nothing was asked for that has not ended
  std::atomic<bool> released{false};
  std::atomic<uint64_t> plans{0};  // handed to these ranks

  bool over() const { return turn.load() >= num_strikes; }
  // The strike that is next if it is at `phase`, or null.
  const Strike* Next(Phase phase) const {
    const int at = turn.load();
    return at < num_strikes && strikes[at].phase == phase ? &strikes[at] : nullptr;
  }
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

// A scene and where other processes find it.
class SharedScene {
 public:
  SharedScene();                                  // a new one
  explicit SharedScene(const std::string& path);  // one that another process made
  ~SharedScene();
  SharedScene(const SharedScene&) = delete;
  SharedScene& operator=(const SharedScene&) = delete;

  Scene& operator*() const { return *scene_; }
  Scene* operator->() const { return scene_; }
  std::string path() const;

 private:
  UniqueFd fd_;
  Scene* scene_ = nullptr;
};

}  // namespace inferd::testing
