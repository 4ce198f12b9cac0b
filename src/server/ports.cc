#include "server/ports.h"

#include <utility>

namespace inferd {
namespace {

// The side port is for a few probes and scrapers.
constexpr int32_t kMaxSideConnections = 256;
constexpr int64_t kMaxSideBodyBytes = 8 << 10;

}  // namespace

Ports::Ports(const ServerOptions& options, const Clock& clock,
             std::shared_ptr<spdlog::logger> logger)
    : options_(options), clock_(clock), logger_(std::move(logger)) {}

ListenerOptions Ports::MainOptions() const {
  ListenerOptions options;
  options.address = options_.grpc_address;
  options.max_connections = options_.max_connections;
  options.max_connections_per_address = options_.max_connections_per_address;
  options.max_new_connections_per_address = options_.max_new_connections_per_address;
  options.handshake_timeout_ms = options_.handshake_timeout_ms;
  options.header_timeout_ms = options_.header_timeout_ms;
  options.body_timeout_ms = options_.body_timeout_ms;
  options.idle_timeout_ms = options_.idle_timeout_ms;
  options.write_stall_timeout_ms = options_.write_stall_timeout_ms;
  options.max_body_bytes = options_.max_message_bytes;
  options.max_pending_body_bytes = options_.max_pending_body_bytes;
  options.http2 = options_.http2;
  options.http2.body_timeout_ms = options_.body_timeout_ms;
  options.http2.max_streams = options_.max_concurrent_streams;
  return options;
}

ListenerOptions Ports::SideOptions() const {
  ListenerOptions options;
  options.address = options_.http_address;
  options.max_connections = kMaxSideConnections;
  options.max_connections_per_address = kMaxSideConnections;
  options.header_timeout_ms = options_.header_timeout_ms;
  options.idle_timeout_ms = options_.idle_timeout_ms;
  options.write_stall_timeout_ms = options_.write_stall_timeout_ms;
  options.max_body_bytes = kMaxSideBodyBytes;
  return options;
}

Status Ports::Open(HttpApi& api, AcceptHttp2 accept_http2, std::shared_ptr<TlsServerContext> tls) {
  INFERD_ASSIGN_OR_RETURN(loop_, NetLoop::Start(options_.network_threads));
  Listener::Handlers main;
  if (options_.http) main.http = api.MainHandler();
  main.accept_http2 = std::move(accept_http2);
  INFERD_ASSIGN_OR_RETURN(main_, Listener::Start(MainOptions(), *loop_, std::move(tls),
                                                 std::move(main), clock_, logger_));
  if (options_.http_address.empty()) return OkStatus();
  Listener::Handlers side;
  side.http = api.SideHandler();
  INFERD_ASSIGN_OR_RETURN(side_, Listener::Start(SideOptions(), *loop_, /*tls=*/nullptr,
                                                 std::move(side), clock_, logger_));
  return OkStatus();
}

void Ports::StopAccepting() {
  if (main_) main_->StopAccepting();
}

void Ports::AwaitIdle(int64_t timeout_ms) {
  if (main_) main_->AwaitIdle(timeout_ms);
}

void Ports::Close(int64_t timeout_ms) {
  if (main_) main_->Close(timeout_ms);
  if (side_) side_->Close(timeout_ms);
}

}  // namespace inferd
