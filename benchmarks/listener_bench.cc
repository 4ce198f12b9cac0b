// What the listener costs: gRPC calls and streams through it and straight to gRPC,
// and server-sent events over HTTP/1.1, all on one network thread. Client and server
// share the machine, so rates compare the two ways and are no server's limit.
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grpc_harness.h"
#include "http1_harness.h"
#include "raw_client.h"

namespace inferd::net {
namespace {

using std::chrono::steady_clock;

constexpr int kStreams = 256;
constexpr int kMessagesPerStream = 400;
constexpr int kCalls = 4'000;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Cost {
  double seconds = 0;
  double cpu_seconds = 0;
};

Cost Measure(const std::function<void()>& work) {
  const double cpu = CpuSeconds();
  const auto begin = steady_clock::now();
  work();
  return {.seconds = std::chrono::duration<double>(steady_clock::now() - begin).count(),
          .cpu_seconds = CpuSeconds() - cpu};
}

void UnaryCalls(const char* name, int port) {
  grpc::GenericStub stub(PlainChannel(port));
  for (int i = 0; i < 200; ++i) Echo(stub, "warm");
  std::vector<double> times_us;
  const Cost cost = Measure([&] {
    for (int i = 0; i < kCalls; ++i) {
      const auto begin = steady_clock::now();
      INFERD_CHECK(Echo(stub, "message").status.ok());
      times_us.push_back(
          std::chrono::duration<double, std::micro>(steady_clock::now() - begin).count());
    }
  });
  std::sort(times_us.begin(), times_us.end());
  std::printf("unary   %-9s p50 %6.0f us  p99 %6.0f us  CPU %5.1f us/call (client and server)\n",
              name, times_us[kCalls / 2], times_us[kCalls * 99 / 100],
              cost.cpu_seconds * 1e6 / kCalls);
}

// One stream of a client that reads all of them with one queue.
struct Reading {
  grpc::ClientContext context;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  grpc::ByteBuffer message;
  grpc::Status status;
  int state = 0;  // 0: starting, 1: asking, 2: reading, 3: finishing
};

void Streams(const char* name, int port) {
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  for (int i = 0; i < 4; ++i)
    stubs.push_back(std::make_unique<grpc::GenericStub>(PlainChannel(port)));
  for (auto& stub : stubs) Echo(*stub, "warm");
  int64_t messages = 0;
  const Cost cost = Measure([&] {
    grpc::CompletionQueue queue;
    std::vector<std::unique_ptr<Reading>> streams;
    for (int i = 0; i < kStreams; ++i) {
      streams.push_back(std::make_unique<Reading>());
      Reading& stream = *streams.back();
      stream.call = stubs[static_cast<size_t>(i) % stubs.size()]->PrepareCall(&stream.context,
                                                                              "/t/Count", &queue);
      stream.call->StartCall(&stream);
    }
    int live = kStreams;
    void* tag = nullptr;
    bool ok = false;
    while (live > 0 && queue.Next(&tag, &ok)) {
      auto& stream = *static_cast<Reading*>(tag);
      if (stream.state == 0) {
        stream.state = 1;
        stream.call->WriteLast(Bytes(std::to_string(kMessagesPerStream)), {}, &stream);
      } else if (stream.state == 3) {
        INFERD_CHECK(stream.status.ok());
        --live;
      } else if (ok) {
        messages += stream.state == 2 ? 1 : 0;
        stream.state = 2;
        stream.call->Read(&stream.message, &stream);
      } else {
        stream.state = 3;
        stream.call->Finish(&stream.status, &stream);
      }
    }
  });
  std::printf("streams %-9s %7.0f messages/s of %d streams  CPU %5.2f us/message\n", name,
              static_cast<double>(messages) / cost.seconds, kStreams,
              cost.cpu_seconds * 1e6 / static_cast<double>(messages));
}

// Writes the next event as soon as the last is written.
class EventSource final : public HttpExchangeEvents,
                          public std::enable_shared_from_this<EventSource> {
 public:
  explicit EventSource(std::shared_ptr<HttpExchange> exchange) : exchange_(std::move(exchange)) {}
  void Begin() {
    HttpResponse head;
    head.content_type = "text/event-stream";
    exchange_->SetEvents(shared_from_this());
    exchange_->StartStream(std::move(head));
    Next();
  }
  void OnWritten(bool ok) override {
    if (ok) Next();
  }
  void OnDisconnect() override {}

 private:
  void Next() {
    if (left_-- > 0) return exchange_->Write("data: " + std::string(150, 'x') + "\n\n");
    exchange_->Finish(true);
  }
  const std::shared_ptr<HttpExchange> exchange_;
  int left_ = kMessagesPerStream;
};

void Events() {
  auto loop = NetLoop::Start(1);
  INFERD_CHECK(loop.ok());
  const SystemClock clock;
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.max_connections_per_address = kStreams;
  const auto http = [](HttpRequest&&, std::shared_ptr<HttpExchange> exchange) {
    std::make_shared<EventSource>(std::move(exchange))->Begin();
  };
  auto listener = Listener::Start(options, **loop, nullptr, {.http = http, .accept_http2 = {}},
                                  clock, NullLogger());
  INFERD_CHECK(listener.ok());
  const Cost cost = Measure([&] {
    std::vector<std::unique_ptr<RawClient>> clients;
    std::vector<pollfd> waits;
    for (int i = 0; i < kStreams; ++i) {
      clients.push_back(std::make_unique<RawClient>((*listener)->port()));
      INFERD_CHECK(clients.back()->Send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      waits.push_back({.fd = clients.back()->fd(), .events = POLLIN, .revents = 0});
    }
    std::vector<char> sink(1 << 16);
    for (int live = kStreams; live > 0;) {
      INFERD_CHECK(::poll(waits.data(), waits.size(), 10'000) > 0);
      for (pollfd& wait : waits) {
        if (wait.revents == 0) continue;
        if (::recv(wait.fd, sink.data(), sink.size(), 0) > 0) continue;
        wait.fd = -1;
        --live;
      }
    }
  });
  constexpr double kMessages = double{kStreams} * kMessagesPerStream;
  std::printf("events  http/1.1  %7.0f messages/s of %d streams  CPU %5.2f us/message\n",
              kMessages / cost.seconds, kStreams, cost.cpu_seconds * 1e6 / kMessages);
}

void Run() {
  ListenerOptions options;
  options.address = "127.0.0.1:0";
  options.http2.max_new_streams = 1'000'000;
  GrpcHarness harness(options, nullptr, /*direct=*/true);
  for (int round = 0; round < 3; ++round) {
    UnaryCalls("direct", harness.direct_port());
    UnaryCalls("listener", harness.port());
  }
  for (int round = 0; round < 3; ++round) {
    Streams("direct", harness.direct_port());
    Streams("listener", harness.port());
  }
  for (int round = 0; round < 3; ++round) Events();
}

}  // namespace
}  // namespace inferd::net

int main() {
  inferd::net::Run();
  return 0;
}
