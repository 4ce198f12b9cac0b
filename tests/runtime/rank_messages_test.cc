// What processes tell each other, and what they do with it.
#include "runtime/rank_messages.h"

#include <unistd.h>

#include <array>
#include <memory>
#include <sstream>

#include "gtest/gtest.h"
#include "runtime/rank_log.h"
#include "runtime/restart_backoff.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::runtime {
namespace {

RankGreeting SomeGreeting() {
  RankGreeting greeting;
  greeting.parent_pid = 77;
  greeting.world_rank = 3;
  greeting.epoch = 9;
  greeting.max_message_bytes = 1 << 20;
  greeting.ring_bytes = 4096;
  greeting.shared_links = 5;
  greeting.key = "a key";
  greeting.address = "host:1";
  greeting.own_host = "me";
  return greeting;
}

RankSetup SomeSetup() {
  RankSetup setup;
  setup.version = "1.2";
  setup.place = PlaceOf({4, 1, 2, true, 2}, 5);
  setup.epoch = 4;
  setup.comm.timeout_us = 123;
  setup.addresses.assign(8 * kNumLinks, "host:2");
  setup.payload = std::string("a\0b", 3);
  return setup;
}

TEST(RankMessages, ComeBackAsTheyWere) {
  const auto greeting = DecodeGreeting(Encode(SomeGreeting()));
  ASSERT_TRUE(greeting.ok());
  EXPECT_EQ(greeting->parent_pid, 77);
  EXPECT_EQ(greeting->shared_links, 5);
  EXPECT_EQ(greeting->own_host, "me");
  const auto setup = DecodeSetup(Encode(SomeSetup()));
  ASSERT_TRUE(setup.ok());
  EXPECT_EQ(setup->place.world_rank(), 5);
  EXPECT_EQ(setup->place.shape, (ParallelShape{4, 1, 2, true, 2}));
  EXPECT_EQ(setup->payload, SomeSetup().payload);
  EXPECT_EQ(setup->addresses.size(), 8 * kNumLinks);
  const Status sent = FailedPreconditionError("why");
  EXPECT_EQ(DecodeStatus(EncodeStatus(sent)).ToString(), sent.ToString());
}

TEST(RankMessages, GroupsWithinAndBetweenHosts) {
  using Ranks = std::vector<int>;
  const auto within = [](const ParallelShape& shape, int rank) {
    return LinkRanks(shape, rank, 6);
  };
  const auto between = [](const ParallelShape& shape, int rank) {
    return LinkRanks(shape, rank, 7);
  };
  ParallelShape shape{4, 1, 1};
  EXPECT_EQ(within(shape, 1), Ranks{1});  // sums do not go by hosts
  EXPECT_EQ(between(shape, 0), Ranks{0});
  shape.sum_hosts = 2;
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(within(shape, rank), rank < 2 ? (Ranks{0, 1}) : (Ranks{2, 3})) << rank;
    EXPECT_EQ(between(shape, rank), rank % 2 == 0 ? (Ranks{0, 2}) : Ranks{rank}) << rank;
  }
  // Three stages on two hosts: only the second one is on both.
  shape.pp = 3;
  EXPECT_EQ(within(shape, 3), Ranks{3});
  EXPECT_EQ(within(shape, 5), (Ranks{4, 5}));
  EXPECT_EQ(between(shape, 6), (Ranks{4, 6}));
  EXPECT_EQ(between(shape, 8), Ranks{8});
  // One of the hosts has one rank of the stage.
  shape = {3, 1, 2, false, 3};
  for (int rank = 0; rank < 6; ++rank) {
    EXPECT_EQ(within(shape, rank), Ranks{rank});
    EXPECT_EQ(between(shape, rank), Ranks{rank});
  }
  shape.sum_hosts = 4;
  EXPECT_FALSE(CheckShape(shape).ok());
}

// Every shorter and every longer message is refused, and nothing else happens.
TEST(RankMessages, OfAnotherLengthAreRefused) {
  for (const std::vector<std::byte>& whole : {Encode(SomeGreeting()), Encode(SomeSetup())}) {
    for (size_t size = 0; size <= whole.size() + 1; ++size) {
      std::vector<std::byte> bytes = whole;
      bytes.resize(size);
      const bool is_whole = size == whole.size();
      EXPECT_EQ(DecodeGreeting(bytes).ok() || DecodeSetup(bytes).ok(), is_whole) << size;
    }
  }
  EXPECT_EQ(DecodeStatus({}).code(), StatusCode::kDataLoss);
  EXPECT_FALSE(DecodeFacts({}).ok());
}

TEST(RankMessages, FactsTellOfTheDeviceAndItsMemory) {
  RankFacts facts;
  facts.vocab_size = 7;
  facts.weight_bytes = 1000;
  facts.memory = {1100, 2000, 300, 40};
  facts.device = {3, "some device", "0000:3f:00.0", 9000, 5000};
  const std::vector<std::byte> whole = Encode(facts);
  const StatusOr<RankFacts> found = DecodeFacts(whole);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->memory, facts.memory);
  EXPECT_EQ(found->device.index, 3);
  EXPECT_EQ(found->device.name, "some device");
  EXPECT_EQ(found->device.bus_id, "0000:3f:00.0");
  EXPECT_EQ(found->device.total_bytes, 9000);
  EXPECT_EQ(found->device.free_bytes, 5000);
  for (size_t size = 0; size <= whole.size() + 1; ++size) {
    std::vector<std::byte> bytes = whole;
    bytes.resize(size);
    EXPECT_EQ(DecodeFacts(bytes).ok(), size == whole.size()) << size;
  }
  facts.device.free_bytes = 9001;  // more than there is
  EXPECT_FALSE(DecodeFacts(Encode(facts)).ok());
  facts.device.free_bytes = 0;
  facts.memory.other = -1;
  EXPECT_FALSE(DecodeFacts(Encode(facts)).ok());
}

TEST(RankMessages, DifferentFactsAreNamed) {
  RankFacts mine;
  mine.num_blocks = 10;
  mine.load_us = 1;
  RankFacts theirs = mine;
  theirs.load_us = 2;
  EXPECT_TRUE(CheckSameFacts(mine, theirs).ok());
  theirs.num_blocks = 11;
  EXPECT_NE(CheckSameFacts(mine, theirs).message().find("the number of blocks is 11, not 10"),
            std::string::npos);
}

TEST(LinkRanks, AreThoseOfTheGrid) {
  const ParallelShape shape{2, 2, 2};
  EXPECT_EQ(LinkRanks(shape, 6, 0), (std::vector<int>{4, 5, 6, 7}));  // tp
  EXPECT_EQ(LinkRanks(shape, 6, 1), (std::vector<int>{6, 7}));        // row
  EXPECT_EQ(LinkRanks(shape, 6, 2), (std::vector<int>{4, 6}));        // column
  EXPECT_EQ(LinkRanks(shape, 6, 3), (std::vector<int>{2, 6}));
  EXPECT_LT(LinkRanks(shape, 6, 4).size(), 2U);                           // world
  EXPECT_EQ(LinkRanks({2, 1, 2, true}, 2, 5), (std::vector<int>{2, 3}));  // weights
  // Stages of one rank: each pair has a group, and both name it alike.
  for (int stage = 0; stage + 1 < 4; ++stage) {
    const size_t link = stage % 2 == 0 ? 3 : 4;
    const ParallelShape stages{1, 1, 4};
    for (const int rank : {stage, stage + 1}) {
      EXPECT_EQ(LinkRanks(stages, rank, link), (std::vector<int>{stage, stage + 1}));
      EXPECT_EQ(LinkMember(PlaceOf(stages, rank), link),
                rank == stage ? &RankLinks::next : &RankLinks::previous);
    }
  }
  for (size_t link = 0; link < kNumLinks; ++link) {
    EXPECT_LT(LinkRanks({1, 1, 1}, 0, link).size(), 2U) << link;
  }
}

TEST(RestartBackoff, DoublesUntilRanksAreHealthy) {
  RestartBackoff backoff(100, 500, 1000);
  EXPECT_EQ(backoff.Next(0), 100);
  EXPECT_EQ(backoff.Next(0), 200);
  EXPECT_EQ(backoff.Next(999), 400);
  EXPECT_EQ(backoff.Next(0), 500);
  EXPECT_EQ(backoff.Next(0), 500);
  EXPECT_EQ(backoff.Next(1000), 100);
}

TEST(RankLog, KeepsLevelsAndCutsLines) {
  std::ostringstream text;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text);
  auto logger = std::make_shared<spdlog::logger>("test", sink);
  logger->set_pattern("%l %v");
  logger->set_level(spdlog::level::trace);
  RankLog log(3, logger);
  std::array<int, 2> pipes{};
  ASSERT_EQ(pipe(pipes.data()), 0);
  const std::string lines = "I|hello\nE|bad\nno level\n" + std::string(10'000, 'x') + "\nD|the end";
  ASSERT_EQ(write(pipes[1], lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
  close(pipes[1]);
  EXPECT_FALSE(log.Read(pipes[0]));
  log.Finish();
  close(pipes[0]);
  EXPECT_EQ(log.num_lines(), 5);
  EXPECT_EQ(text.str(),
            "info rank 3: hello\nerror rank 3: bad\nwarning rank 3: no level\n"
            "warning rank 3: " +
                std::string(4096, 'x') + "\ndebug rank 3: the end\n");
}

}  // namespace
}  // namespace inferd::runtime
