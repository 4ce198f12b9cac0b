#pragma once

#include <memory>
#include <mutex>

#include "inferd/net/http.h"
#include "net/event_loop.h"

namespace inferd::net {

class Http1Session;

// The handler's end of a request: posts what it is told to the session's loop, where
// it does nothing if the session has gone on. Thread-safe.
class Http1Exchange final : public HttpExchange {
 public:
  Http1Exchange(std::shared_ptr<EventLoop> loop, std::weak_ptr<Http1Session> session,
                uint64_t serial);
  ~Http1Exchange() override;
  void Respond(HttpResponse response) override;
  void SetEvents(std::shared_ptr<HttpExchangeEvents> events) override;
  void StartStream(HttpResponse head) override;
  void Write(std::string bytes) override;
  void Finish(bool complete) override;

 private:
  template <typename F>
  void Tell(F what);

  const std::shared_ptr<EventLoop> loop_;
  const std::weak_ptr<Http1Session> session_;
  const uint64_t serial_;
};

}  // namespace inferd::net
