// What a listener's connections share, and the phases a connection goes through.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/net/listener.h"
#include "net/address_ledger.h"
#include "net/channel.h"
#include "net/connection_caps.h"
#include "net/event_loop.h"
#include "net/shared_pace.h"
#include "net/tls_context.h"

namespace inferd::net {

// One phase of a connection: opening, HTTP/1.1, HTTP/2, or the end. Lives on its
// loop's thread; kept alive by its shard.
class Connection : public EventLoop::Source, public std::enable_shared_from_this<Connection> {
 public:
  virtual ~Connection() = default;
  // Hears of its channel's events from now on, and begins.
  virtual void Begin() = 0;
  // No new work: close when the work under way is done.
  virtual void Drain() = 0;
  // Close now.
  virtual void Abort() = 0;
};

// The connections of one listener on one loop. On the loop's thread.
struct Shard {
  std::map<uint64_t, std::shared_ptr<Connection>> connections;
  bool draining = false;
};

struct ListenerCounters {
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> refused_total{0};
  std::atomic<int64_t> refused_per_address{0};
  std::atomic<int64_t> refused_too_fast{0};
  std::atomic<int64_t> refused_shut_out{0};
  std::atomic<int64_t> handshakes_failed{0};
  std::atomic<int64_t> timed_out{0};
  std::atomic<int64_t> stalled{0};
  std::atomic<int64_t> http1_requests{0};
  std::atomic<int64_t> http2_connections{0};
  std::atomic<int64_t> accept_errors{0};
  std::array<std::atomic<int64_t>, kNumHttp2Violations> http2_violations{};
};

// Answers under way, for Close to wait on. Thread-safe.
class WorkCount {
 public:
  void Add(int64_t delta) {
    if (delta == 0) return;
    std::lock_guard lock(mutex_);
    count_ += delta;
    if (count_ == 0) idle_.notify_all();
  }
  // True when it came to zero in time.
  bool AwaitIdle(int64_t timeout_ms);

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  int64_t count_ = 0;  // under mutex_
};

AddressLimits MakeAddressLimits(const ListenerOptions& options);

// Shared by a listener and its connections; constant but for its thread-safe parts.
struct ListenerCore {
  ListenerCore(ListenerOptions o, std::shared_ptr<TlsServerContextImpl> t, Listener::Handlers h,
               const Clock& c, std::shared_ptr<spdlog::logger> l)
      : options(std::move(o)),
        tls(std::move(t)),
        handlers(std::move(h)),
        clock(c),
        logger(std::move(l)),
        caps(options.max_connections, options.max_connections_per_address),
        ledger(MakeAddressLimits(options)),
        reset_pace(options.http2.max_reset_rate) {}

  const ListenerOptions options;
  const std::shared_ptr<TlsServerContextImpl> tls;  // null: plain
  const Listener::Handlers handlers;
  const Clock& clock;
  const std::shared_ptr<spdlog::logger> logger;
  ConnectionCaps caps;
  AddressLedger ledger;
  SharedPace reset_pace;
  ListenerCounters counters;
  WorkCount work;
  std::atomic<int64_t> body_bytes{0};  // of requests being received

  int64_t NowMs() const { return clock.NowUs() / 1000; }
};

// What goes from one phase of a connection to the next.
struct Link {
  std::shared_ptr<ListenerCore> core;
  std::shared_ptr<EventLoop> loop;
  std::shared_ptr<Shard> shard;
  uint64_t id = 0;  // within the shard
  ConnectionCaps::Lease lease;
  AddressKey address;
  std::unique_ptr<Channel> channel;
  std::string peer;
  std::string subject;
};

// Puts `connection` in the place of the phase before it, or in a new one.
void Enter(Shard& shard, uint64_t id, std::shared_ptr<Connection> connection);

}  // namespace inferd::net
