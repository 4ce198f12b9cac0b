// What the engine's process and the process of a rank say to each other, besides plans
// and results (inferd/plan/wire.h). Bytes of fixed layout; decoding trusts nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/comm/communicator.h"
#include "inferd/model/parallel.h"
#include "inferd/runtime/rank.h"

namespace inferd::runtime {

// Kinds of messages on a rank's host channel. A rank of another host begins with kHere,
// which is its host's address. To the rank: kSetup, then kWarmUp once all
// have loaded, then plans; and kStop at any time. From it: kLoaded, kReady, a result for
// each plan in order; or kFailed, which is its last.
enum class RankMessage : uint32_t {
  kSetup = 1,
  kLoaded,
  kWarmUp,
  kReady,
  kPlan,
  kResult,
  kFailed,
  kStop,
  kHere,
};

// The groups a rank may belong to: its stage's, its row's, its column's, with a rank of a
// neighbouring stage where the first of the two is an even one, where it is an odd one, and
// its stage's for weights, those of its stage on its host, and the first of these of each.
inline constexpr size_t kNumLinks = 8;
// Which link of a rank it is.
Communicator* RankLinks::*LinkMember(const RankPlace& place, size_t link);
// The world ranks of the rank's link `link`, in the order of the group; fewer than two:
// it has no such link.
std::vector<int> LinkRanks(const ParallelShape& shape, int world_rank, size_t link);

// The longest message on any rank's channel; the same on all hosts.
inline constexpr int64_t kMaxRankMessageBytes = 64 << 20;

// The first thing a child hears, over its control socket: how to open its host channel.
// Descriptors come with it: of the channel's segment, if it is in shared memory, and of
// the segment of each group that `shared_links` has a bit for.
struct RankGreeting {
  int64_t parent_pid = 0;
  int32_t world_rank = 0;
  uint64_t epoch = 0;
  int64_t max_message_bytes = 0;
  int64_t ring_bytes = 0;  // 0: over TCP
  uint8_t shared_links = 0;
  // Of which the groups of shared_links are. Ranks of another host whose setup has another shape
  // leave these alone.
  ParallelShape shared_shape;
  std::string key;  // the deployment's, where there are other hosts
  // Over TCP: where the engine is, this rank's number among those that connect, and how
  // many they are.
  std::string address;
  int32_t remote_rank = 0;
  int32_t num_remote = 0;
  std::string own_host;  // for kHere
  int64_t silence_us = 0;
};

// kSetup.
struct RankSetup {
  std::string version;  // of the program; all ranks run the same
  RankPlace place;
  uint64_t epoch = 0;
  CommOptions comm;
  // Where the ranks listen for groups that are not in shared memory, by world rank and
  // link: addresses[world_rank * kNumLinks + link]. Empty on one host.
  std::vector<std::string> addresses;
  std::string payload;  // the application's own
};

// kLoaded: what must be the same on all ranks of a stage, and what this one did.
struct RankFacts {
  int32_t vocab_size = 0;
  int32_t num_layers = 0;
  int32_t max_model_len = 0;
  int32_t num_blocks = 0;
  int64_t weight_bytes = 0;
  int64_t load_us = 0;
  MemoryUse memory;
  DeviceInfo device;  // differs from rank to rank
};
RankFacts FactsOf(const RankInfo& info);
// FAILED_PRECONDITION naming the first difference; what load_us and `device` say is none.
Status CheckSameFacts(const RankFacts& expected, const RankFacts& found);

std::vector<std::byte> Encode(const RankGreeting& greeting);
std::vector<std::byte> Encode(const RankSetup& setup);
std::vector<std::byte> Encode(const RankFacts& facts);
std::vector<std::byte> EncodeStatus(const Status& status);  // without its detail

// DATA_LOSS for what Encode cannot have written.
StatusOr<RankGreeting> DecodeGreeting(std::span<const std::byte> bytes);
StatusOr<RankSetup> DecodeSetup(std::span<const std::byte> bytes);
StatusOr<RankFacts> DecodeFacts(std::span<const std::byte> bytes);
// The status that was sent; DATA_LOSS where it makes no sense.
Status DecodeStatus(std::span<const std::byte> bytes);

}  // namespace inferd::runtime
