#include "http1_harness.h"

#include <spdlog/sinks/null_sink.h>

#include <chrono>
#include <thread>

namespace inferd::net {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

}  // namespace

std::shared_ptr<spdlog::logger> NullLogger() {
  return std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
}

void RecordedEvents::OnWritten(bool ok) {
  std::lock_guard lock(mutex_);
  ++(ok ? written_ : failed_);
  changed_.notify_all();
}

void RecordedEvents::OnDisconnect() {
  std::lock_guard lock(mutex_);
  ++disconnects_;
  changed_.notify_all();
}

bool RecordedEvents::AwaitWritten(int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return written_ >= count; });
}

bool RecordedEvents::AwaitDisconnect() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return disconnects_ > 0; });
}

int RecordedEvents::written() const {
  std::lock_guard lock(mutex_);
  return written_;
}

int RecordedEvents::failed() const {
  std::lock_guard lock(mutex_);
  return failed_;
}

int RecordedEvents::disconnects() const {
  std::lock_guard lock(mutex_);
  return disconnects_;
}

ListenerOptions Http1Harness::LoopbackOptions() {
  ListenerOptions options;
  options.address = "127.0.0.1:0";
  return options;
}

Http1Harness::Http1Harness(ListenerOptions options, std::shared_ptr<TlsServerContext> tls,
                           int threads) {
  auto loop = NetLoop::Start(threads);
  INFERD_CHECK(loop.ok());
  loop_ = std::move(*loop);
  const auto http = [this](HttpRequest&& request, std::shared_ptr<HttpExchange> exchange) {
    Handle(std::move(request), std::move(exchange));
  };
  auto listener = Listener::Start(std::move(options), *loop_, std::move(tls),
                                  {.http = http, .accept_http2 = {}}, clock_, NullLogger());
  INFERD_CHECK(listener.ok());
  listener_ = std::move(*listener);
}

Http1Harness::~Http1Harness() { listener_.reset(); }

void Http1Harness::Handle(HttpRequest&& request, std::shared_ptr<HttpExchange> exchange) {
  if (request.path == "/drop") return;
  if (request.path.rfind("/hold", 0) == 0) {
    auto events = std::make_shared<RecordedEvents>();
    exchange->SetEvents(events);
    std::lock_guard lock(mutex_);
    held_.push_back({std::move(request), std::move(exchange), std::move(events)});
    arrived_.notify_all();
    return;
  }
  HttpResponse response;
  response.content_type = "text/plain";
  response.headers.emplace_back("x-peer", request.peer);
  response.headers.emplace_back("x-subject", request.subject);
  response.body = request.method + " " + request.path + " " + request.query +
                  " x-thing=" + std::string(request.Header("x-thing")) + " " + request.body;
  exchange->Respond(std::move(response));
}

Http1Harness::Held Http1Harness::TakeHeld() {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, kPatience, [this] { return !held_.empty(); })) return {};
  Held held = std::move(held_.front());
  held_.pop_front();
  return held;
}

bool Http1Harness::AwaitConnections(int64_t count) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (listener_->Stats().connections != count) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace inferd::net
