// A listener that serves HTTP/1.1 with handlers made for tests.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "inferd/net/listener.h"

namespace inferd::net {

// Counts what an exchange hears.
class RecordedEvents final : public HttpExchangeEvents {
 public:
  void OnWritten(bool ok) override;
  void OnDisconnect() override;
  // False when it did not come to that within five seconds.
  bool AwaitWritten(int count);
  bool AwaitDisconnect();
  int written() const;
  int failed() const;
  int disconnects() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int written_ = 0;
  int failed_ = 0;
  int disconnects_ = 0;
};

// "/echo...": answers at once with method, path, query, the header x-thing and the
// body. "/drop": lets go of the exchange. "/hold...": the test answers itself, from
// TakeHeld.
class Http1Harness {
 public:
  struct Held {
    HttpRequest request;
    std::shared_ptr<HttpExchange> exchange;
    std::shared_ptr<RecordedEvents> events;
  };

  explicit Http1Harness(ListenerOptions options = LoopbackOptions(),
                        std::shared_ptr<TlsServerContext> tls = nullptr, int threads = 1);
  ~Http1Harness();
  static ListenerOptions LoopbackOptions();

  int port() const { return listener_->port(); }
  Listener& listener() { return *listener_; }
  void DestroyListener() { listener_.reset(); }
  // Waits for the next held request; an empty one after five seconds.
  Held TakeHeld();
  // Waits until the count of open connections is that; false after five seconds.
  bool AwaitConnections(int64_t count);

 private:
  void Handle(HttpRequest&& request, std::shared_ptr<HttpExchange> exchange);

  SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Held> held_;
  std::unique_ptr<NetLoop> loop_;
  std::unique_ptr<Listener> listener_;
};

std::shared_ptr<spdlog::logger> NullLogger();

}  // namespace inferd::net
