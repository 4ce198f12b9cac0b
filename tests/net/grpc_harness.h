// A real gRPC server behind a real listener.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "inferd/net/listener.h"

namespace inferd::net {

// Methods, on raw bytes: "/t/Echo" answers each message with itself and the caller's
// name in the trailer "peer"; "/t/Count" answers one message "<n>" with n messages.
class GrpcHarness {
 public:
  // Listens on `options.address`; `direct` also on a port of gRPC's own.
  GrpcHarness(ListenerOptions options, std::shared_ptr<TlsServerContext> tls = nullptr,
              bool direct = false);
  ~GrpcHarness();

  Listener& listener() { return *listener_; }
  int port() const { return listener_->port(); }
  int direct_port() const { return direct_port_; }

 private:
  class Service;
  std::unique_ptr<Service> service_;
  int direct_port_ = 0;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  SystemClock clock_;
  std::unique_ptr<NetLoop> loop_;
  std::unique_ptr<Listener> listener_;
};

std::shared_ptr<grpc::Channel> PlainChannel(int port);

struct EchoResult {
  grpc::Status status;
  std::string answer;
  std::string peer;  // as the server's context names it
};
EchoResult Echo(grpc::GenericStub& stub, const std::string& message, int timeout_ms = 10'000);
// Reads a "/t/Count" stream; returns the number of messages, -1 on an error.
int Count(grpc::GenericStub& stub, int messages, int timeout_ms = 60'000);

std::string Text(const grpc::ByteBuffer& buffer);
grpc::ByteBuffer Bytes(const std::string& text);

}  // namespace inferd::net
