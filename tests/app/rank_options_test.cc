#include "app/rank_options.h"

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace inferd::app {
namespace {

// Only asked what it is, and whether it would have company.
class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(bool own_memory, int devices = 2, int64_t available = 900)
      : own_memory_(own_memory), devices_(devices), available_(available) {}
  Ops& ops() override { std::abort(); }
  std::string Description() const override { return "a device"; }
  int64_t TotalMemoryBytes() const override { return 1000; }
  int64_t AvailableMemoryBytes() const override { return available_; }
  bool HasOwnMemory() const override { return own_memory_; }
  Status CheckGroup(int ranks_here) const override {
    return ranks_here <= devices_ ? OkStatus() : FailedPreconditionError("too few");
  }
  int64_t GroupBytes() const override { return 100; }

 private:
  const bool own_memory_;
  const int devices_;
  const int64_t available_;
};

TEST(RankOptionsTest, BatchInvarianceIsTheBackends) {
  ServerConfig config;
  EXPECT_FALSE(BackendOptionsOf(config, 0, 1).batch_invariant);
  config.engine.batch_invariant = true;
  EXPECT_TRUE(BackendOptionsOf(config, 0, 1).batch_invariant);
}

TEST(RankOptionsTest, DevicesArePutTogetherWhereTheyCanBe) {
  for (const bool pipeline : {false, true}) {
    ServerConfig split;
    if (pipeline) {
      split.parallel.pp = 2;
    } else {
      split.parallel.tp = "2";
    }
    EXPECT_TRUE(CheckSplit(split, FakeBackend(false, 0), 2).ok());
    EXPECT_TRUE(CheckSplit(split, FakeBackend(true), 2).ok());
    const Status few = CheckSplit(split, FakeBackend(true, 1), 2);
    EXPECT_EQ(few.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(few.message(), "parallel.tp, parallel.pp: too few");

    ServerConfig threads = split;
    threads.parallel.executor = "thread";
    EXPECT_NE(CheckSplit(threads, FakeBackend(true), 2).message().find("parallel.executor"),
              std::string::npos);
    ServerConfig rounded = split;
    rounded.parallel.all_reduce = "int8";
    EXPECT_NE(CheckSplit(rounded, FakeBackend(true), 2).message().find("parallel.all_reduce"),
              std::string::npos);
  }
  // Replicas do not exchange anything.
  ServerConfig replicas;
  replicas.parallel.dp = 2;
  EXPECT_TRUE(CheckSplit(replicas, FakeBackend(true, 0), 2).ok());
}

// An error of a device ends the process that had it.
TEST(RankOptionsTest, RanksOfDevicesAreProcesses) {
  ServerConfig config;
  EXPECT_FALSE(RanksAreProcesses(config, FakeBackend(false)));
  EXPECT_TRUE(RanksAreProcesses(config, FakeBackend(true)));
  config.parallel.dp = 2;
  EXPECT_FALSE(RanksAreProcesses(config, FakeBackend(false)));
  config.parallel.tp = "2";
  EXPECT_TRUE(RanksAreProcesses(config, FakeBackend(false)));
  config.parallel.executor = "thread";
  EXPECT_FALSE(RanksAreProcesses(config, FakeBackend(true)));
  config = ServerConfig();
  config.parallel.executor = "process";
  EXPECT_TRUE(RanksAreProcesses(config, FakeBackend(false)));
}

// What is measured may differ from rank to rank, and with it the last bits of products.
TEST(RankOptionsTest, OnlyARankOnItsOwnMeasures) {
  ServerConfig config;
  config.model.packed_cache = "/var/cache/inferd";
  EXPECT_EQ(BackendOptionsOf(config, 0, 1).tuning_directory, "/var/cache/inferd");
  config.parallel.dp = 2;
  EXPECT_EQ(BackendOptionsOf(config, 1, 2).tuning_directory, "/var/cache/inferd");
  config.parallel.tp = "2";
  EXPECT_EQ(BackendOptionsOf(config, 1, 4).tuning_directory, "");
}

// Of each device, what its groups take is not the model's.
TEST(RankOptionsTest, MemoryOfDevicesIsCountedByRank) {
  ServerConfig config;
  EXPECT_EQ(MakeRankOptions(config, FakeBackend(true), 1, nullptr).memory.available_bytes, 900);
  config.parallel.tp = "2";
  EXPECT_EQ(MakeRankOptions(config, FakeBackend(true), 1, nullptr).memory.available_bytes, 1600);
  EXPECT_EQ(MakeRankOptions(config, FakeBackend(false), 1, nullptr).memory.available_bytes, 900);
}

// A plan takes 0 for "unknown" and would check nothing.
TEST(RankOptionsTest, NoMemoryIsNotUnknownMemory) {
  for (const bool own_memory : {false, true}) {
    const FakeBackend full(own_memory, 2, 0);
    EXPECT_EQ(MakeRankOptions(ServerConfig(), full, 1, nullptr).memory.available_bytes, 1);
  }
}

TEST(RankOptionsTest, APayloadTellsARankItsPartOfTheConfigurationAndNoSecret) {
  RankPayload payload;
  payload.config.model.path = "/models/x";
  payload.config.parallel.tp = "2x2";
  payload.config.engine.max_running = 7;
  payload.config.server.api_keys_file = "/secrets/api_keys";
  payload.config.parallel.key_file = "/secrets/group_key";
  payload.num_blocks = 12;
  payload.ranks_here = 4;
  payload.first_rank = 0;
  const std::string bytes = EncodeRankPayload(payload);
  EXPECT_EQ(bytes.find("/secrets"), std::string::npos);
  const StatusOr<RankPayload> decoded = DecodeRankPayload(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->config.model.path, "/models/x");
  EXPECT_EQ(decoded->config.parallel.tp, "2x2");
  EXPECT_EQ(decoded->config.engine.max_running, 7);
  EXPECT_EQ(decoded->num_blocks, 12);
  EXPECT_EQ(decoded->ranks_here, 4);
  // Cut anywhere it is no payload, or one with fewer keys; never a crash.
  for (size_t length = 0; length < bytes.size(); ++length) {
    (void)DecodeRankPayload(bytes.substr(0, length));
  }
  EXPECT_FALSE(DecodeRankPayload(bytes.substr(0, bytes.size() - 1)).ok());
  EXPECT_FALSE(DecodeRankPayload("").ok());
}

}  // namespace
}  // namespace inferd::app
