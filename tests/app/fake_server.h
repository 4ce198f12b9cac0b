#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "inferd/server/server.h"

namespace inferd::app {

// Notes the calls. Shutdown waits until Shutdown(0) comes or, when not `busy`,
// returns at once.
class FakeServer final : public Server {
 public:
  explicit FakeServer(bool busy) : busy_(busy) {}

  OutputSink& sink() override { return sink_; }
  void Attach(ServedModel, Engine&) override {}
  void Fail() override { Note("fail"); }
  void SetApiKeys(std::shared_ptr<const KeyRing>) override { Note("keys"); }
  void ReportReload(bool) override {}
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
  int admin_port() const override { return 0; }
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

}  // namespace inferd::app
