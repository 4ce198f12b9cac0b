// What a link between two hosts can do to each message between a rank and the engine: a table of
// messages, faults and shapes.
#include "gtest/gtest.h"
#include "runtime/chaos/frame_relay.h"
#include "runtime/chaos/record.h"
#include "runtime/chaos/two_hosts.h"
#include "runtime/rank_messages.h"

namespace inferd::testing {
namespace {

using runtime::RankMessage;

ChaosRecord* const record = dynamic_cast<ChaosRecord*>(::testing::AddGlobalTestEnvironment(
    new ChaosRecord("Messages between a rank of another host and the engine")));

struct Message {
  const char* name;
  uint32_t kind;
  bool to_engine;
};

constexpr uint32_t Kind(RankMessage message) { return static_cast<uint32_t>(message); }

constexpr Message kMessages[] = {
    {"hello_of_rank", kHelloMessage, true},       {"hello_of_engine", kHelloMessage, false},
    {"proof_of_rank", kProofMessage, true},       {"proof_of_engine", kProofMessage, false},
    {"here", Kind(RankMessage::kHere), true},     {"setup", Kind(RankMessage::kSetup), false},
    {"loaded", Kind(RankMessage::kLoaded), true}, {"warm_up", Kind(RankMessage::kWarmUp), false},
    {"ready", Kind(RankMessage::kReady), true},   {"plan", Kind(RankMessage::kPlan), false},
    {"result", Kind(RankMessage::kResult), true},
};

struct Cell {
  Message message;
  LinkFault fault;
  ParallelShape shape;
};

std::string CellName(const Cell& cell) {
  return std::string(cell.message.name) + "_" + NameOf(cell.fault) + "_" + NameOf(cell.shape);
}

bool IsOfStart(const Message& message) {
  return message.kind != Kind(RankMessage::kPlan) && message.kind != Kind(RankMessage::kResult);
}

std::string WhyNot(const Message& message, LinkFault fault) {
  const bool is_empty =
      message.kind == Kind(RankMessage::kWarmUp) || message.kind == Kind(RankMessage::kReady);
  if (fault == LinkFault::kChangedPayload && is_empty) return "the message has no payload";
  if (fault == LinkFault::kOtherVersion && message.kind == kProofMessage) {
    return "a proof has no version";
  }
  return "";
}

std::vector<Cell> Table() {
  const ParallelShape shapes[] = {{2, 1, 1}, {1, 1, 2}, {2, 1, 2}};
  std::vector<Cell> cells;
  for (size_t m = 0; m < std::size(kMessages); ++m) {
    for (int f = 0; f < kNumLinkFaults; ++f) {
      const auto fault = static_cast<LinkFault>(f);
      if (const std::string why = WhyNot(kMessages[m], fault); !why.empty()) {
        if (AllCases()) {
          record->AddReason(why, std::string(kMessages[m].name) + "_" + NameOf(fault));
        }
        continue;
      }
      // In every run: plans and results with every fault, the others with one each.
      const size_t chosen = (m + ChaosSeed()) % kNumLinkFaults;
      const bool in_every_run = !IsOfStart(kMessages[m]) || static_cast<size_t>(f) == chosen;
      for (size_t s = 0; s < std::size(shapes); ++s) {
        const bool is_turn = s == (m + static_cast<size_t>(f)) % 2;
        if (AllCases() || (in_every_run && is_turn)) {
          cells.push_back({kMessages[m], fault, shapes[s]});
        }
      }
    }
  }
  return cells;
}

// What whoever gets such a message says of it, after the handshake; empty: nothing of its own.
std::string Complaint(LinkFault fault) {
  switch (fault) {
    case LinkFault::kLost:
    case LinkFault::kReplayed:
    case LinkFault::kOvertaken:
      return "a message with number";
    case LinkFault::kChangedHeader:
    case LinkFault::kChangedPayload:
      return "a message with a wrong check";
    case LinkFault::kOldEpoch:
      return "a message with epoch";
    case LinkFault::kOtherVersion:
      return "a message with version";
    case LinkFault::kCut:
    case LinkFault::kCutInside:
    case LinkFault::kHalfOpen:
    case LinkFault::kSlow:
      break;
  }
  return "";
}

class EveryMessage : public ::testing::TestWithParam<Cell> {};

TEST_P(EveryMessage, MaySufferAndNothingIsLost) {
  const Cell& cell = GetParam();
  ChaosRun run(cell.shape);
  MakeLeader(run);
  const std::string port = ":" + std::to_string(kLeaderPort);
  // Ranks come for the second time, and there are messages of the first.
  std::vector<LinkStrike> strikes;
  const bool again = IsOfStart(cell.message) || cell.fault == LinkFault::kOldEpoch;
  if (again) strikes.push_back({Kind(RankMessage::kResult), true, 10, LinkFault::kCut});
  const int nth = IsOfStart(cell.message) ? 0 : 8 + static_cast<int>(ChaosSeed() % 5);
  strikes.push_back({cell.message.kind, cell.message.to_engine, nth, cell.fault});
  FrameRelay relay(HostAddress(3) + port, HostAddress(1) + port, strikes);
  run.SetStriker([&] { return relay.over(); }, [&] { return relay.struck_us(); });
  const SecondHost second(run, HostAddress(3));
  ASSERT_TRUE(run.Start().ok()) << run.log();
  const bool is_loss = !IsOfStart(cell.message) && cell.fault != LinkFault::kSlow;
  const uint64_t losses = (again ? 1U : 0U) + (is_loss ? 1U : 0U);
  for (int wave = 0; wave < 2; ++wave) {
    run.Ask();
    ASSERT_TRUE(run.AwaitCalm(losses, {})) << run.log();
  }
  run.ExpectNoneLost();
  run.End();
  EXPECT_EQ(run.log().find("at the end:"), std::string::npos) << run.log();
  // It was found out as what it is, not by what it led to.
  if (cell.message.kind < kHelloMessage) {
    EXPECT_NE(run.log().find(Complaint(cell.fault)), std::string::npos);
  }
  if (HasFailure()) std::fputs(run.log().c_str(), stdout);
  record->Add(cell.message.name, NameOf(cell.fault), run.outcome());
}

INSTANTIATE_TEST_SUITE_P(Table, EveryMessage, ::testing::ValuesIn(Table()),
                         [](const auto& cell) { return CellName(cell.param); });

}  // namespace
}  // namespace inferd::testing
