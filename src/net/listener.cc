#include "inferd/net/listener.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "net/acceptor.h"
#include "net/listener_core.h"

namespace inferd {
namespace net {
namespace {

class NetLoopImpl final : public NetLoop {
 public:
  explicit NetLoopImpl(std::vector<std::shared_ptr<EventLoop>> loops) : loops_(std::move(loops)) {}
  ~NetLoopImpl() override {
    for (const auto& loop : loops_) loop->Stop();
  }
  const std::vector<std::shared_ptr<EventLoop>>& loops() const { return loops_; }

 private:
  const std::vector<std::shared_ptr<EventLoop>> loops_;
};

// How long a client may take to close its side after the last answer.
constexpr int64_t kGoodbyeMs = 500;

// Runs `task` on the loop and waits for it.
template <typename F>
void RunOn(EventLoop& loop, F task) {
  INFERD_CHECK(!loop.InThread());
  std::promise<void> done;
  loop.Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

class ListenerImpl final : public Listener {
 public:
  ListenerImpl(std::shared_ptr<ListenerCore> core, const NetLoopImpl& loops)
      : core_(std::move(core)) {
    for (const auto& loop : loops.loops()) {
      places_.push_back({.loop = loop, .shard = std::make_shared<Shard>()});
    }
  }

  ~ListenerImpl() override {
    StopAccepting();
    AbortAll();
  }

  Status Open() {
    INFERD_ASSIGN_OR_RETURN(ListeningSocket socket, OpenListener(core_->options.address));
    port_ = socket.port;
    bool watched = false;
    RunOn(*places_.front().loop, [&] {
      acceptor_ = std::make_unique<Acceptor>(core_, std::move(socket), places_);
      watched = acceptor_->Begin();
    });
    if (watched) return OkStatus();
    return UnavailableError("cannot listen on " + core_->options.address + ": epoll has no room");
  }

  int port() const override { return port_; }

  void StopAccepting() override {
    if (stopped_.exchange(true)) return;
    RunOn(*places_.front().loop, [&] { acceptor_.reset(); });
    for (const Acceptor::Place& place : places_) {
      RunOn(*place.loop, [&] {
        place.shard->draining = true;
        ForEach(*place.shard, [](Connection& connection) { connection.Drain(); });
      });
    }
  }

  bool AwaitIdle(int64_t timeout_ms) override { return core_->work.AwaitIdle(timeout_ms); }

  bool Close(int64_t timeout_ms) override {
    StopAccepting();
    const bool idle = AwaitIdle(timeout_ms);
    if (idle) AwaitGoodbyes(std::min(timeout_ms, kGoodbyeMs));
    AbortAll();
    return idle;
  }

  ListenerStats Stats() const override {
    const ListenerCounters& counters = core_->counters;
    ListenerStats stats;
    stats.connections = core_->caps.open();
    stats.accepted = counters.accepted.load();
    stats.refused_total = counters.refused_total.load();
    stats.refused_per_address = counters.refused_per_address.load();
    stats.refused_too_fast = counters.refused_too_fast.load();
    stats.refused_shut_out = counters.refused_shut_out.load();
    stats.handshakes_failed = counters.handshakes_failed.load();
    stats.timed_out = counters.timed_out.load();
    stats.stalled = counters.stalled.load();
    stats.http1_requests = counters.http1_requests.load();
    stats.http2_connections = counters.http2_connections.load();
    stats.accept_errors = counters.accept_errors.load();
    for (const auto& count : counters.http2_violations) {
      stats.http2_violations.push_back(count.load());
    }
    return stats;
  }

 private:
  // Connections leave the shard, or change their phase, while it is walked.
  template <typename F>
  static void ForEach(const Shard& shard, F visit) {
    const auto connections = shard.connections;
    for (const auto& [id, connection] : connections) visit(*connection);
  }

  // The last bytes of an answer are with the client once it has closed its side: a
  // close with bytes of the client's unread would take them back (RST).
  void AwaitGoodbyes(int64_t timeout_ms) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (core_->caps.open() > 0 && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void AbortAll() {
    for (const Acceptor::Place& place : places_) {
      RunOn(*place.loop, [&] {
        // Twice: a phase that was left during the first round has a successor.
        for (int round = 0; round < 2; ++round) {
          ForEach(*place.shard, [](Connection& connection) { connection.Abort(); });
        }
      });
    }
  }

  const std::shared_ptr<ListenerCore> core_;
  std::vector<Acceptor::Place> places_;
  std::unique_ptr<Acceptor> acceptor_;  // on the first loop
  std::atomic<bool> stopped_{false};
  int port_ = 0;
};

}  // namespace
}  // namespace net

StatusOr<std::unique_ptr<NetLoop>> NetLoop::Start(int num_threads) {
  std::vector<std::shared_ptr<net::EventLoop>> loops;
  for (int i = 0; i < num_threads; ++i) {
    INFERD_ASSIGN_OR_RETURN(auto loop, net::EventLoop::Start(i));
    loops.push_back(std::move(loop));
  }
  return std::unique_ptr<NetLoop>(std::make_unique<net::NetLoopImpl>(std::move(loops)));
}

StatusOr<std::unique_ptr<Listener>> Listener::Start(ListenerOptions options, NetLoop& loop,
                                                    std::shared_ptr<TlsServerContext> tls,
                                                    Handlers handlers, const Clock& clock,
                                                    std::shared_ptr<spdlog::logger> logger) {
  auto core = std::make_shared<net::ListenerCore>(
      std::move(options), std::static_pointer_cast<net::TlsServerContextImpl>(std::move(tls)),
      std::move(handlers), clock, std::move(logger));
  auto listener = std::make_unique<net::ListenerImpl>(std::move(core),
                                                      static_cast<const net::NetLoopImpl&>(loop));
  INFERD_RETURN_IF_ERROR(listener->Open());
  return std::unique_ptr<Listener>(std::move(listener));
}

}  // namespace inferd
