// Somebody between two ends of a connection.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/groups.h"
#include "inferd/base/check.h"

namespace inferd {

inline int ConnectTo(const std::string& address, const std::string& from = "127.0.0.1") {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  INFERD_CHECK(inet_pton(AF_INET, from.c_str(), &name.sin_addr) == 1);
  INFERD_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  INFERD_CHECK(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0);
  return fd;
}

// Passes bytes on between a rank and whom it connects to, the engine or another rank, and
// keeps what it said. After `tamper_after` bytes of its it flips a bit, if that is not
// negative.
class Relay {
 public:
  Relay(std::string engine, int64_t tamper_after)
      : engine_(std::move(engine)), tamper_after_(tamper_after), thread_([this] { Run(); }) {}
  ~Relay() { Join(); }
  const std::string& address() const { return listener_.address; }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  // After Join().
  const std::vector<std::byte>& said() const { return said_; }

 private:
  void Run() {
    pollfd waiting{listener_.fd, POLLIN, 0};
    poll(&waiting, 1, -1);
    const int rank = accept(listener_.fd, nullptr, nullptr);
    const int engine = ConnectTo(engine_);
    std::array<pollfd, 2> ends = {pollfd{rank, POLLIN, 0}, pollfd{engine, POLLIN, 0}};
    std::array<std::byte, 4096> bytes;
    for (bool open = true; open;) {
      poll(ends.data(), ends.size(), -1);
      for (size_t from = 0; from < 2 && open; ++from) {
        if (ends[from].revents == 0) continue;
        const ssize_t n = recv(ends[from].fd, bytes.data(), bytes.size(), 0);
        open = n > 0;
        for (ssize_t i = 0; i < n && from == 0; ++i) {
          if (static_cast<int64_t>(said_.size()) == tamper_after_) bytes[i] ^= std::byte{1};
          said_.push_back(bytes[i]);
        }
        if (open) (void)send(ends[1 - from].fd, bytes.data(), static_cast<size_t>(n), MSG_NOSIGNAL);
      }
    }
    close(rank);
    close(engine);
  }

  Listener listener_;
  const std::string engine_;
  const int64_t tamper_after_;
  std::vector<std::byte> said_;
  std::thread thread_;
};

}  // namespace inferd
