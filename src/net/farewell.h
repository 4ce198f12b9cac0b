// The end of a connection that the client should hear the reason of.
#pragma once

#include <string>

#include "net/listener_core.h"

namespace inferd::net {

// Writes the last bytes, then takes and drops what the client still sends, so that
// the kernel does not answer it with a reset that overtakes them. All within a
// second. On the loop's thread.
class Farewell final : public Connection {
 public:
  Farewell(Link link, std::string last_bytes);
  void Begin() override;
  void OnReady(int fd, uint32_t epoll_events) override;
  void Drain() override {}
  void Abort() override;

 private:
  void Step();

  Link link_;
  std::string bytes_;
  size_t written_ = 0;
  bool ended_ = false;
  size_t dropped_ = 0;
  Timer timer_;
};

}  // namespace inferd::net
