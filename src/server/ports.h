#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/net/listener.h"
#include "inferd/server/server.h"
#include "server/http_api.h"
#include "spdlog/logger.h"

namespace inferd {

// The daemon's ports: the main one has gRPC and the HTTP API, told apart by their
// first bytes, the side port probes and metrics. Thread-safe after Open.
class Ports {
 public:
  // Takes one end of a connection that goes on with HTTP/2; on a network thread.
  using AcceptHttp2 = std::function<void(int fd)>;

  Ports(const ServerOptions& options, const Clock& clock, std::shared_ptr<spdlog::logger> logger);

  // Once, before anything else. UNAVAILABLE naming the address that cannot be had.
  // `api` must outlive Close; what `accept_http2` uses, too. `tls` may be null.
  Status Open(HttpApi& api, AcceptHttp2 accept_http2, std::shared_ptr<TlsServerContext> tls);

  // No new connections on the main port; the side port goes on telling of the state.
  void StopAccepting();
  // Waits until the main port has no answer under way, at most `timeout_ms`.
  void AwaitIdle(int64_t timeout_ms);
  // Waits for the answers under way, at most `timeout_ms`, and closes both ports.
  void Close(int64_t timeout_ms);

  int main_port() const { return main_ ? main_->port() : 0; }
  int side_port() const { return side_ ? side_->port() : 0; }  // 0: none
  ListenerStats Stats() const { return main_ ? main_->Stats() : ListenerStats{}; }

 private:
  ListenerOptions MainOptions() const;
  ListenerOptions SideOptions() const;

  const ServerOptions& options_;
  const Clock& clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  std::unique_ptr<NetLoop> loop_;
  std::unique_ptr<Listener> main_;
  std::unique_ptr<Listener> side_;
};

}  // namespace inferd
