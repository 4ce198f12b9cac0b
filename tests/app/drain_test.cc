#include "app/drain.h"

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "spdlog/logger.h"

namespace inferd::app {
namespace {

// Notes the calls. Shutdown waits until Shutdown(0) comes or, when not `busy`,
// returns at once.
class FakeServer final : public Server {
 public:
  explicit FakeServer(bool busy) : busy_(busy) {}

  OutputSink& sink() override { return sink_; }
  void Attach(ServedModel, Engine&) override {}
  void Fail() override {}
  void StartDraining() override { Note("drain"); }
  bool Shutdown(int64_t timeout_ms) override {
    Note("shutdown " + std::to_string(timeout_ms));
    std::unique_lock lock(mutex_);
    if (timeout_ms == 0) {
      cut_ = cut_ || busy_;
      changed_.notify_all();
      return !busy_;
    }
    changed_.wait(lock, [this] { return !busy_ || cut_; });
    return !cut_;
  }
  ServerState state() const override { return ServerState::kReady; }
  int grpc_port() const override { return 0; }
  int http_port() const override { return 0; }
  int64_t live_requests() const override { return busy_ ? 1 : 0; }

  std::vector<std::string> notes() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

 private:
  struct NoSink final : OutputSink {
    void Post(std::vector<TokenEvent>&&) override {}
  };
  void Note(std::string text) {
    const std::lock_guard lock(mutex_);
    notes_.push_back(std::move(text));
  }

  const bool busy_;
  NoSink sink_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cut_ = false;
  std::vector<std::string> notes_;
};

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
