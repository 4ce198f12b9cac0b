#include "raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace inferd::net {
namespace {

class Deadline {
 public:
  explicit Deadline(int timeout_ms)
      : end_(std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms)) {}
  int left_ms() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end_ - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

 private:
  std::chrono::steady_clock::time_point end_;
};

}  // namespace

RawClient::RawClient() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}

bool RawClient::Bind(const char* source) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  return ::inet_pton(AF_INET, source, &address.sin_addr) == 1 &&
         ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

bool RawClient::Connect(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

RawClient::RawClient(int port, int receive_buffer_bytes) : RawClient() {
  if (receive_buffer_bytes > 0) {
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                 sizeof(receive_buffer_bytes));
  }
  if (!Connect(port)) fd_.Reset();
}

RawClient::RawClient(const std::string& unix_path) {
  fd_.Reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, unix_path.data(), unix_path.size());
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fd_.Reset();
  }
}

bool RawClient::Send(std::string_view bytes, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  while (!bytes.empty()) {
    const ssize_t put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put >= 0) {
      bytes.remove_prefix(static_cast<size_t>(put));
      continue;
    }
    if (errno != EAGAIN) return false;
    pollfd wait{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&wait, 1, deadline.left_ms()) <= 0) return false;
  }
  return true;
}

bool RawClient::Fill(int timeout_ms) {
  if (ended_ || !fd_) return false;
  pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&wait, 1, timeout_ms) <= 0) return false;
  std::array<char, 65536> chunk{};
  const ssize_t got = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  buffer_.append(chunk.data(), static_cast<size_t>(got));
  return true;
}

std::string RawClient::ReadUntil(std::string_view end, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  while (true) {
    const size_t found = buffer_.find(end);
    const bool more = found == std::string::npos && Fill(deadline.left_ms());
    if (more) continue;
    const size_t take = found == std::string::npos ? buffer_.size() : found + end.size();
    std::string result = buffer_.substr(0, take);
    buffer_.erase(0, take);
    return result;
  }
}

std::string RawClient::ReadAnswer(int timeout_ms) {
  std::string answer = ReadUntil("\r\n\r\n", timeout_ms);
  const size_t header = answer.find("content-length: ");
  if (header == std::string::npos) return answer;
  const size_t length = std::strtoul(answer.c_str() + header + 16, nullptr, 10);
  const Deadline deadline(timeout_ms);
  while (buffer_.size() < length && Fill(deadline.left_ms())) {
  }
  answer += buffer_.substr(0, length);
  buffer_.erase(0, length);
  return answer;
}

std::string RawClient::ReadAll(int timeout_ms) {
  const Deadline deadline(timeout_ms);
  while (Fill(deadline.left_ms())) {
  }
  return std::exchange(buffer_, {});
}

bool RawClient::AwaitClose(int timeout_ms) {
  const Deadline deadline(timeout_ms);
  while (Fill(deadline.left_ms())) buffer_.clear();
  return ended_;
}

void RawClient::HalfClose() { ::shutdown(fd_.get(), SHUT_WR); }

std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame.append(payload);
}

std::string GrpcRequestBlock(std::string_view path) {
  std::string block;
  const auto field = [&block](std::string_view name, std::string_view value) {
    block.push_back(0);  // literal without indexing, new name
    block.push_back(static_cast<char>(name.size()));
    block.append(name);
    block.push_back(static_cast<char>(value.size()));
    block.append(value);
  };
  field(":method", "POST");
  field(":scheme", "http");
  field(":path", path);
  field(":authority", "localhost");
  field("content-type", "application/grpc");
  field("te", "trailers");
  return block;
}

}  // namespace inferd::net
