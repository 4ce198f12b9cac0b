// The first phase of a connection: TLS, then which protocol the first bytes speak.
#pragma once

#include <string>

#include "net/listener_core.h"

namespace inferd::net {

// On its loop's thread; has handshake_timeout_ms for both.
class Opening final : public Connection {
 public:
  explicit Opening(Link link);
  void Begin() override;
  void OnReady(int fd, uint32_t epoll_events) override;
  void Drain() override;
  void Abort() override;

 private:
  void Step();
  void OnTimer();
  void RefuseHandshake();

  Link link_;
  bool handshaking_ = false;
  std::shared_ptr<SSL_CTX> tls_;  // until the handshake is done
  std::string first_bytes_;
  Timer timer_;
};

}  // namespace inferd::net
