#include "net/listener_core.h"

#include <chrono>

namespace inferd::net {

AddressLimits MakeAddressLimits(const ListenerOptions& options) {
  const Http2Limits& http2 = options.http2;
  AddressLimits limits;
  limits.max_new_connections = options.max_new_connections_per_address;
  limits.max_points = int64_t{http2.max_violations} * http2.max_resets;
  limits.window_ms = http2.window_ms;
  limits.penalty_ms = http2.penalty_ms;
  return limits;
}

bool WorkCount::AwaitIdle(int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                        [this] { return count_ == 0; });
}

void Enter(Shard& shard, uint64_t id, std::shared_ptr<Connection> connection) {
  Connection* raw = connection.get();
  // The phase before may still be on the stack: whoever calls holds it.
  const std::shared_ptr<Connection> before =
      std::exchange(shard.connections[id], std::move(connection));
  const std::shared_ptr<Connection> self = raw->shared_from_this();
  raw->Begin();
}

}  // namespace inferd::net
