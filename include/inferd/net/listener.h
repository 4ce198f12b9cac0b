// The daemon's own listener: accepts, caps, terminates TLS, tells HTTP/1.1 from
// HTTP/2 by the first bytes, serves the former and guards the latter for gRPC.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/net/http.h"
#include "inferd/net/http2_limits.h"
#include "inferd/net/tls.h"
#include "spdlog/logger.h"

namespace inferd {

struct ListenerOptions {
  // "host:port" (port 0: any free one), "[v6]:port" or "unix:/path".
  std::string address;
  int32_t max_connections = 4096;
  int32_t max_connections_per_address = 256;  // by IP address; /64 of IPv6
  // From one address, a second; as many at once after a pause.
  int32_t max_new_connections_per_address = 1'000;
  int64_t handshake_timeout_ms = 5'000;     // TLS, then the first bytes
  int64_t header_timeout_ms = 10'000;       // of one HTTP/1.1 head
  int64_t body_timeout_ms = 15'000;         // for each 16 KiB of a body
  int64_t idle_timeout_ms = 300'000;        // without a request or a stream
  int64_t write_stall_timeout_ms = 30'000;  // a client that takes nothing
  int64_t max_header_bytes = 16 << 10;      // 431 past it
  int32_t max_header_fields = 100;          // 431
  int64_t max_target_bytes = 8 << 10;       // 414
  int64_t max_body_bytes = 8 << 20;         // 413, before reading it where declared
  // Bodies being received, of all connections together and past kFreeBodyBytes of
  // each. Past it HTTP/1.1 requests get 503, and HTTP/2 connections GOAWAY.
  int64_t max_pending_body_bytes = 256 << 20;
  Http2Limits http2;
};

// Monotonic counts, for metrics; a closed set of reasons.
struct ListenerStats {
  int64_t connections = 0;  // open now
  int64_t accepted = 0;
  int64_t refused_total = 0;        // past max_connections
  int64_t refused_per_address = 0;  // past max_connections_per_address
  int64_t refused_too_fast = 0;     // past max_new_connections_per_address
  int64_t refused_shut_out = 0;     // past Http2Limits::max_violations
  int64_t handshakes_failed = 0;
  int64_t timed_out = 0;  // in handshake, preface, head or body
  int64_t stalled = 0;    // took nothing of an answer for write_stall_timeout_ms
  int64_t http1_requests = 0;
  int64_t http2_connections = 0;
  int64_t accept_errors = 0;              // out of descriptors and the like
  std::vector<int64_t> http2_violations;  // by Http2Violation
};

// The threads that all listeners' connections live on: each connection belongs to
// one of them. Destroy after the listeners.
class NetLoop {
 public:
  virtual ~NetLoop() = default;
  // UNAVAILABLE when out of descriptors or threads.
  static StatusOr<std::unique_ptr<NetLoop>> Start(int num_threads);
};

// Thread-safe. Connections that go on with HTTP/2 are handed to `accept_http2` as
// one end of a socket pair, which it owns from then on: what arrives there was let
// through by the guard and decrypted. getpeername() on it gives an abstract name
// "inferd/<n>/<peer>" (after its zero byte).
class Listener {
 public:
  struct Handlers {
    HttpHandler http;                       // empty: HTTP/1.1 is closed at once
    std::function<void(int)> accept_http2;  // empty: likewise
  };
  // UNAVAILABLE naming the address when it cannot be had. `tls` may be null: plain.
  static StatusOr<std::unique_ptr<Listener>> Start(ListenerOptions options, NetLoop& loop,
                                                   std::shared_ptr<TlsServerContext> tls,
                                                   Handlers handlers, const Clock& clock,
                                                   std::shared_ptr<spdlog::logger> logger);
  // Closes all that is open. Not on a network thread.
  virtual ~Listener() = default;
  virtual int port() const = 0;  // 0 for a Unix socket
  // New connections are refused by the kernel from here on; open ones live on, but
  // HTTP/1.1 connections close after the answer under way, and HTTP/2 connections
  // get GOAWAY and close once they have no stream.
  virtual void StopAccepting() = 0;
  // Waits until no answer is under way; false when `timeout_ms` passed. Not on a
  // network thread.
  virtual bool AwaitIdle(int64_t timeout_ms) = 0;
  // Waits until the answers under way are out or `timeout_ms` passed, then closes
  // everything, HTTP/2 included. True when nothing was cut off. Not on a network
  // thread.
  virtual bool Close(int64_t timeout_ms) = 0;
  virtual ListenerStats Stats() const = 0;
};

// The address of `accept_http2`'s peer from gRPC's name for it, e.g.
// "203.0.113.5:4242"; `uri` as it is when it is none of ours.
std::string PeerOfHttp2(std::string_view uri);
// What stands for the subject of a client's certificate: 24 hexadecimal digits of its
// SHA-256.
std::string CertificateId(std::string_view subject);
// The same of `accept_http2`'s peer, from gRPC's name for it; empty: it showed none.
std::string CertificateOfHttp2(std::string_view uri);

}  // namespace inferd
