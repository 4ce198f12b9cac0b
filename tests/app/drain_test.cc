#include "app/drain.h"

#include <csignal>
#include <thread>
#include <vector>

#include "app/fake_server.h"
#include "gtest/gtest.h"
#include "spdlog/logger.h"

namespace inferd::app {
namespace {

using Notes = std::vector<std::string>;

TEST(DrainServer, WaitsForTheDelayThenShutsDown) {
  FakeServer server(/*busy=*/false);
  SignalQueue signals(4);
  spdlog::logger logger("test");
  DrainServer(server, signals, /*delay_ms=*/10, /*timeout_ms=*/1000, logger);
  EXPECT_EQ(server.notes(), (Notes{"drain", "shutdown 1000"}));
}

TEST(DrainServer, ASecondSignalDuringTheDelayStopsAtOnce) {
  FakeServer server(/*busy=*/true);
  SignalQueue signals(4);
  signals.TryPush(SIGTERM);
  spdlog::logger logger("test");
  DrainServer(server, signals, /*delay_ms=*/3'600'000, /*timeout_ms=*/3'600'000, logger);
  EXPECT_EQ(server.notes(), (Notes{"drain", "shutdown 0"}));
}

TEST(DrainServer, ASecondSignalDuringTheDrainCutsIt) {
  FakeServer server(/*busy=*/true);
  SignalQueue signals(4);
  spdlog::logger logger("test");
  std::thread second([&] {
    while (server.notes().size() < 2) std::this_thread::yield();
    signals.TryPush(SIGHUP);  // does not count
    signals.TryPush(SIGINT);
  });
  DrainServer(server, signals, /*delay_ms=*/0, /*timeout_ms=*/3'600'000, logger);
  second.join();
  EXPECT_EQ(server.notes(), (Notes{"drain", "shutdown 3600000", "shutdown 0"}));
}

}  // namespace
}  // namespace inferd::app
