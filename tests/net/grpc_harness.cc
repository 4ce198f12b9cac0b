#include "grpc_harness.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/async_stream.h>
#include <spdlog/sinks/null_sink.h>

#include <grpc/grpc.h>

#include <chrono>
#include <cstdlib>
#include <vector>

namespace inferd::net {

std::string Text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

namespace {

class EchoReactor final : public grpc::ServerGenericBidiReactor {
 public:
  explicit EchoReactor(grpc::GenericCallbackServerContext* context) {
    context->AddTrailingMetadata("peer", context->peer());
    StartRead(&buffer_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWrite(&buffer_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    buffer_.Clear();
    StartRead(&buffer_);
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer buffer_;
};

class CountReactor final : public grpc::ServerGenericBidiReactor {
 public:
  CountReactor() { StartRead(&buffer_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    left_ = std::atoi(Text(buffer_).c_str());
    buffer_ = Bytes(std::string(52, 'x'));
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_-- > 0) return StartWrite(&buffer_);
    Finish(grpc::Status::OK);
  }
  grpc::ByteBuffer buffer_;
  int left_ = 0;
};

class UnknownReactor final : public grpc::ServerGenericBidiReactor {
 public:
  UnknownReactor() { Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no such method")); }
  void OnDone() override { delete this; }
};

}  // namespace

class GrpcHarness::Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    if (context->method() == "/t/Echo") return new EchoReactor(context);
    if (context->method() == "/t/Count") return new CountReactor;
    return new UnknownReactor;
  }
};

GrpcHarness::GrpcHarness(ListenerOptions options, std::shared_ptr<TlsServerContext> tls,
                         bool direct)
    : service_(std::make_unique<Service>()) {
  // Held for ever: the library's own end waits up to 10 s for a poller of its own.
  grpc_init();
  grpc::ServerBuilder builder;
  builder.RegisterCallbackGenericService(service_.get());
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.http2.max_streams);
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  if (direct) {
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &direct_port_);
  }
  server_ = builder.BuildAndStart();
  INFERD_CHECK(server_ != nullptr);
  auto loop = NetLoop::Start(1);
  INFERD_CHECK(loop.ok());
  loop_ = std::move(*loop);
  const auto accept_http2 = [this](int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = fd;
    acceptor_->HandleNewConnection(&parameters);
  };
  const auto http = [](HttpRequest&& request, const std::shared_ptr<HttpExchange>& exchange) {
    HttpResponse response;
    response.body = request.path;
    exchange->Respond(std::move(response));
  };
  auto listener = Listener::Start(
      std::move(options), *loop_, std::move(tls), {.http = http, .accept_http2 = accept_http2},
      clock_,
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()));
  INFERD_CHECK(listener.ok());
  listener_ = std::move(*listener);
}

GrpcHarness::~GrpcHarness() {
  listener_.reset();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
  loop_.reset();
}

std::shared_ptr<grpc::Channel> PlainChannel(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

namespace {

void* Await(grpc::CompletionQueue& queue, bool& ok) {
  void* tag = nullptr;
  return queue.Next(&tag, &ok) ? tag : nullptr;
}

}  // namespace

EchoResult Echo(grpc::GenericStub& stub, const std::string& message, int timeout_ms) {
  EchoResult result;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, "/t/Echo", Bytes(message), &queue);
  grpc::ByteBuffer answer;
  call->StartCall();
  call->Finish(&answer, &result.status, nullptr);
  bool ok = false;
  Await(queue, ok);
  if (result.status.ok()) result.answer = Text(answer);
  const auto peer = context.GetServerTrailingMetadata().find("peer");
  if (peer != context.GetServerTrailingMetadata().end()) {
    result.peer = std::string(peer->second.data(), peer->second.size());
  }
  return result;
}

int Count(grpc::GenericStub& stub, int messages, int timeout_ms) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/t/Count", &queue);
  bool ok = false;
  call->StartCall(nullptr);
  Await(queue, ok);
  if (ok) {
    call->WriteLast(Bytes(std::to_string(messages)), {}, nullptr);
    Await(queue, ok);
  }
  int seen = 0;
  while (ok) {
    grpc::ByteBuffer message;
    call->Read(&message, nullptr);
    Await(queue, ok);
    if (ok) ++seen;
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  Await(queue, ok);
  return status.ok() ? seen : -1;
}

}  // namespace inferd::net
