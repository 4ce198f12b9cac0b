#include "runtime/chaos/stage.h"

#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

namespace inferd::testing {
namespace {

constexpr int kMostFds = 128;
constexpr int kGroupPorts = 64;  // after the engine's, see ProcessExecutorOptions
constexpr int kPatienceRounds = 60'000;
constexpr useconds_t kRoundUs = 1000;

// The port of one end of a connection over TCP; -1: it is none.
int PortOf(int fd, int (*name_of)(int, sockaddr*, socklen_t*)) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  if (name_of(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return -1;
  return name.sin_family == AF_INET ? ntohs(name.sin_port) : -1;
}

}  // namespace

const char* Stage::Start(const char* version) {
  const Strike* const strike = scene_.Next(Phase::kStart);
  if (strike == nullptr || scene_.arrivals.fetch_add(1) != strike->rank) return version;
  rank_ = strike->rank;
  Pass(Phase::kStart, 0);
  return version_is_wrong_ ? "test 2" : version;
}

void Stage::OnClock() {
  if (syscall(SYS_gettid) != getpid()) return;  // a thread that listens for heartbeats
  switch (moment_) {
    case Moment::kJoining:
      if (scene_.Next(Phase::kMeeting) == nullptr || !IsAmongOthers()) return;
      if (rank_ < 0) {
        std::array<char, 17> name{};
        (void)prctl(PR_GET_NAME, name.data());
        rank_ = std::atoi(name.data() + std::string("inferd-rank").size());
      }
      Pass(Phase::kMeeting, 0);
      return;
    case Moment::kExchanging:
      // First it sets its deadline.
      if (++looks_ > 1) Pass(within_, exchange_);
      return;
    case Moment::kSending:
      moment_ = Moment::kSent;
      Pass(Phase::kResultReady, results_ - 1);
      return;
    case Moment::kSent:
      moment_ = Moment::kWaiting;
      Pass(Phase::kResultSent, results_ - 1);
      [[fallthrough]];
    case Moment::kWaiting:
      if (scene_.plans.load() > static_cast<uint64_t>(begun_)) {
        Pass(Phase::kPlanWaiting, begun_);
      } else if (scene_.idle.load()) {
        Pass(Phase::kIdle, 0);
      }
      return;
    case Moment::kWarmingUp:
    case Moment::kComputing:
      return;
  }
}

void Stage::OnAttention(int layers) {
  if (++attention_ != layers) return;
  if (moment_ == Moment::kWarmingUp) {
    Pass(Phase::kWarmUp, 0);
  } else if (has_prompts_) {
    Pass(Phase::kPrefill, prefills_++);
  } else {
    Pass(Phase::kDecode, decodes_++);
  }
}

void Stage::BeginWarmUp() {
  moment_ = Moment::kWarmingUp;
  attention_ = 0;
}

void Stage::BeginPlan(const BatchPlan& plan) {
  moment_ = Moment::kComputing;
  has_prompts_ = !plan.admitted.empty();
  for (const StepEntry& entry : plan.entries) has_prompts_ = has_prompts_ || entry.count > 1;
  attention_ = 0;
  Pass(Phase::kPlanRead, begun_++);
}

void Stage::EndPlan() {
  ++results_;
  moment_ = Moment::kSending;
}

void Stage::Joined(const RankPlace& place) {
  rank_ = place.world_rank();
  tp_ = place.shape.tp();
  moment_ = Moment::kComputing;
}

void Stage::Pass(Phase phase, int nth) {
  const Strike* const strike = scene_.Next(phase);
  if (strike == nullptr || strike->rank != rank_ || nth < strike->nth) return;
  const Fault fault = strike->fault;
  // Two threads may pass; one of them is struck.
  int turn = static_cast<int>(strike - scene_.strikes);
  if (fault == Fault::kStop || fault == Fault::kPause) scene_.stopped_pid = getpid();
  scene_.struck_us[turn] = SystemClock().NowUs();
  if (!scene_.turn.compare_exchange_strong(turn, turn + 1)) return;
  Suffer(fault);
}

void Stage::LetOthersWait(Phase within, int nth) const {
  for (int round = 0; round < kPatienceRounds; ++round) {
    const Strike* const strike = scene_.Next(within);
    if (strike == nullptr || strike->nth != nth) return;
    const bool is_waited_for = within == Phase::kInSum
                                   ? strike->rank != rank_ && strike->rank / tp_ == rank_ / tp_
                                   : strike->rank == rank_ + tp_;
    if (!is_waited_for) return;
    usleep(kRoundUs);
  }
}

// It has taken its place in the memory of a group, or a socket to or at a port of one.
bool Stage::IsAmongOthers() const {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("inferd-comm") != std::string::npos) return true;
  }
  for (int fd = 0; fd < kMostFds && scene_.port > 0; ++fd) {
    for (const int port : {PortOf(fd, getsockname), PortOf(fd, getpeername)}) {
      if (port > scene_.port && port <= scene_.port + kGroupPorts) return true;
    }
  }
  return false;
}

void Stage::ShutDown(bool engine) const {
  for (int fd = 0; fd < kMostFds; ++fd) {
    const int port = PortOf(fd, getpeername);
    if (port >= 0 && (port == scene_.port) == engine) (void)shutdown(fd, SHUT_RDWR);
  }
}

void Stage::Suffer(Fault fault) {
  switch (fault) {
    case Fault::kKill:
      (void)raise(SIGKILL);
      return;
    case Fault::kSegv:
      (void)signal(SIGSEGV, SIG_DFL);
      (void)raise(SIGSEGV);
      return;
    case Fault::kStop:
    case Fault::kPause:
      (void)kill(getpid(), SIGSTOP);
      return;
    case Fault::kMemory: {
      const rlimit limit{1 << 20, 1 << 20};
      (void)setrlimit(RLIMIT_AS, &limit);
      void* volatile more = ::operator new (size_t{64} << 20);
      ::operator delete(more);
      return;
    }
    case Fault::kCloseEngine:
      ShutDown(true);
      return;
    case Fault::kCloseRanks:
      ShutDown(false);
      return;
    case Fault::kWrongVersion:
      version_is_wrong_ = true;
      return;
    case Fault::kHold:
      for (int round = 0; round < kPatienceRounds && !scene_.released; ++round) usleep(kRoundUs);
      return;
  }
}

}  // namespace inferd::testing
