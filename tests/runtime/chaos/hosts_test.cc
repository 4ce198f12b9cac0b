// Sockets that close, ranks that die or are late, and strangers at the door, at every point of a
// step of ranks on two hosts: a table of phases, faults and shapes.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/handshake.h"
#include "gtest/gtest.h"
#include "inferd/comm/tcp_channel.h"
#include "runtime/chaos/record.h"
#include "runtime/chaos/stage.h"
#include "runtime/chaos/strikes.h"
#include "runtime/chaos/two_hosts.h"

namespace inferd::testing {
namespace {

// Longer than a step may take here.
constexpr int64_t kLatePauseUs = 700'000;
constexpr Fault kHostFaults[] = {Fault::kKill,  Fault::kCloseEngine, Fault::kCloseRanks,
                                 Fault::kPause, Fault::kHold,        Fault::kWrongVersion};

ChaosRecord* const record =
    dynamic_cast<ChaosRecord*>(::testing::AddGlobalTestEnvironment(new ChaosRecord("Two hosts")));

std::string WhyNot(const Cell& cell) {
  const bool closes = cell.fault == Fault::kCloseEngine || cell.fault == Fault::kCloseRanks;
  if (closes && cell.phase == Phase::kStart) return "a process that begins has no sockets";
  if (cell.fault == Fault::kCloseEngine && cell.phase == Phase::kBeforeHandOver) {
    return "the first stage is on the engine's host, without a socket between";
  }
  if (cell.fault == Fault::kWrongVersion && cell.phase != Phase::kStart) {
    return "a process says its version once";
  }
  const bool goes_on = cell.fault == Fault::kPause || cell.fault == Fault::kHold;
  if (goes_on && cell.phase == Phase::kStop) return "nobody waits for who is let go of";
  return WhyNoRank(cell.phase, cell.shape);
}

std::vector<Cell> Table() {
  const ParallelShape shapes[] = {{2, 1, 1}, {1, 1, 2}, {2, 1, 2}};
  std::vector<Cell> cells;
  for (int p = 0; p < kNumPhases; ++p) {
    for (size_t f = 0; f < std::size(kHostFaults); ++f) {
      bool kept = false;
      for (size_t s = 0; s < std::size(shapes); ++s) {
        const Cell cell{static_cast<Phase>(p), kHostFaults[f],
                        shapes[(s + static_cast<size_t>(p) + f) % std::size(shapes)]};
        if (const std::string why = WhyNot(cell); !why.empty()) {
          if (AllCases()) record->AddReason(why, CellName(cell));
          continue;
        }
        // In every run: one fault of each phase, and whoever says another version.
        const bool is_turn = f == (static_cast<size_t>(p) + ChaosSeed()) % 5 || f == 5;
        if (AllCases() || (is_turn && !kept)) cells.push_back(cell);
        kept = true;
      }
    }
  }
  return cells;
}

// Says what another version of the program would at the engine's door, and leaves.
void KnockAsAnotherVersion() {
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(kLeaderPort);
  ASSERT_EQ(inet_pton(AF_INET, HostAddress(1).c_str(), &name.sin_addr), 1);
  ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  Hello hello;
  hello.version = Hello::kVersion + 1;
  hello.role = HelloRole::kEngineRank;
  ASSERT_EQ(send(fd.get(), &hello, sizeof(hello), MSG_NOSIGNAL), ssize_t{sizeof(hello)});
}

// A second leader, a rank with another key and one of another version, while a rank is held.
void Intrude(ChaosRun& run) {
  const SystemClock clock;
  SystemEntropy entropy;
  const std::vector<RankInfo> infos(static_cast<size_t>(run.options().shape.ranks()));
  const auto second = StartProcessExecutor(run.options(), infos, entropy, clock, nullptr);
  EXPECT_FALSE(second.ok()) << "there are two leaders";
  TcpChannelOptions stranger;
  stranger.address = HostAddress(1) + ":" + std::to_string(kLeaderPort);
  stranger.key = "the key of another deployment";
  stranger.channel.epoch = kEpochOfEngine;
  stranger.num_ranks = run.options().shape.ranks() / 2;
  stranger.silence_us = kSilenceUs;
  stranger.timeout_us = 100'000;
  EXPECT_FALSE(ConnectTcpChannel(stranger, 0, entropy, clock).ok()) << "a stranger is let in";
  KnockAsAnotherVersion();
}

class EveryPhaseOfTwoHosts : public ::testing::TestWithParam<Cell> {};

TEST_P(EveryPhaseOfTwoHosts, LosesNothing) {
  const Cell& cell = GetParam();
  ChaosRun run(cell.shape);
  MakeLeader(run);
  if (cell.fault == Fault::kHold) run.engine_options().step_timeout_us = 60'000'000;
  Scene& scene = run.scene();
  // One of the worker's ranks.
  const Strike strike = StrikeAt(cell.phase, cell.fault, cell.shape, cell.shape.ranks() / 2);
  if (IsOfStart(cell.phase)) {
    scene.strikes[scene.num_strikes++] = {Phase::kDecode, Fault::kKill, strike.rank, 10};
  }
  scene.strikes[scene.num_strikes++] = strike;
  const SecondHost second(run, HostAddress(1));
  ASSERT_TRUE(run.Start().ok()) << run.log();
  Continuer go_on(kLatePauseUs);
  const auto meanwhile = [&] {
    if (cell.fault == Fault::kPause) go_on.Look(scene);
    if (cell.fault == Fault::kHold && scene.over() && !scene.released) {
      Intrude(run);
      scene.released = true;
    }
  };
  const bool at_end = cell.phase == Phase::kStop;
  const bool idle = cell.phase == Phase::kIdle;
  // Who is late is not missed while nothing runs, nor in the first steps, which may take longer;
  // and that links between ranks are closed shows when there is a plan.
  const bool may_be_late = idle || cell.phase == Phase::kPrefill;
  const bool harmless = cell.fault == Fault::kHold || (may_be_late && cell.fault == Fault::kPause);
  const uint64_t losses = IsOfStart(cell.phase) ? 1 : (at_end || harmless ? 0 : 1);
  run.Ask();
  if (idle && cell.fault == Fault::kCloseRanks) {
    ASSERT_TRUE(run.AwaitStruck(meanwhile)) << run.log();
  } else if (!at_end) {
    ASSERT_TRUE(run.AwaitCalm(losses, meanwhile)) << run.log();
  }
  run.Ask();
  if (!at_end) {
    ASSERT_TRUE(run.AwaitCalm(losses, meanwhile)) << run.log();
    run.ExpectNoneLost();
  }
  run.End();
  // The worker's ranks are not waited for.
  EXPECT_TRUE(run.AwaitStruck({}));
  if (at_end) run.ExpectNoneLost();
  if (cell.fault == Fault::kHold) {
    EXPECT_EQ(run.outcome().losses, losses);
  }
  EXPECT_EQ(run.log().find("at the end:"), std::string::npos) << run.log();
  if (cell.fault == Fault::kWrongVersion) {
    EXPECT_NE(run.log().find("this rank of test 2"), std::string::npos);
  }
  if (HasFailure()) std::fputs(run.log().c_str(), stdout);
  record->Add(NameOf(cell.phase), cell.fault == Fault::kHold ? "intruders" : NameOf(cell.fault),
              run.outcome());
}

INSTANTIATE_TEST_SUITE_P(Table, EveryPhaseOfTwoHosts, ::testing::ValuesIn(Table()),
                         [](const auto& cell) { return CellName(cell.param); });

}  // namespace
}  // namespace inferd::testing
