#include "app/rank_options.h"

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace inferd::app {
namespace {

// Only asked what it is.
class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(bool own_memory) : own_memory_(own_memory) {}
  Ops& ops() override { std::abort(); }
  std::string Description() const override { return "a device"; }
  int64_t TotalMemoryBytes() const override { return 0; }
  int64_t AvailableMemoryBytes() const override { return 0; }
  bool HasOwnMemory() const override { return own_memory_; }

 private:
  const bool own_memory_;
};

TEST(RankOptionsTest, DevicesWithTheirOwnMemoryAreNotPutTogether) {
  ServerConfig config;
  config.parallel.dp = 2;
  EXPECT_TRUE(CheckSplit(config, FakeBackend(true)).ok());
  for (const bool pipeline : {false, true}) {
    ServerConfig split = config;
    if (pipeline) {
      split.parallel.pp = 2;
    } else {
      split.parallel.tp = "2";
    }
    EXPECT_TRUE(CheckSplit(split, FakeBackend(false)).ok());
    const Status refused = CheckSplit(split, FakeBackend(true));
    EXPECT_EQ(refused.code(), StatusCode::kUnimplemented);
    EXPECT_NE(refused.message().find("parallel.tp"), std::string::npos);
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
