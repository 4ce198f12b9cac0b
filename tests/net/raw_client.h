// A client that sends and receives bytes as it is told to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/base/unique_fd.h"

namespace inferd::net {

class RawClient {
 public:
  // Not connected yet.
  RawClient();
  // The address to connect from, before that: one of 127.0.0.0/8.
  bool Bind(const char* source);
  bool Connect(int port);
  // Connected to 127.0.0.1, or to a Unix socket; connected() says whether.
  explicit RawClient(int port, int receive_buffer_bytes = 0);
  explicit RawClient(const std::string& unix_path);
  bool connected() const { return static_cast<bool>(fd_); }

  // False when the other side no longer takes it, or not within the time.
  bool Send(std::string_view bytes, int timeout_ms = 5'000);
  // Everything until `end` has been seen, the connection ended, or the time passed.
  std::string ReadUntil(std::string_view end, int timeout_ms = 5'000);
  // One HTTP/1.1 answer with content-length: head and body.
  std::string ReadAnswer(int timeout_ms = 5'000);
  // Until the connection ended.
  std::string ReadAll(int timeout_ms = 5'000);
  // True when the other side closed (or reset) within the time; drops what it sends.
  bool AwaitClose(int timeout_ms = 5'000);
  void HalfClose();
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

 private:
  bool Fill(int timeout_ms);  // reads once into buffer_
  UniqueFd fd_;
  std::string buffer_;
  bool ended_ = false;
};

// HTTP/2 frames.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
// HPACK without indexing or Huffman: a request for `path`, as gRPC's.
std::string GrpcRequestBlock(std::string_view path);

}  // namespace inferd::net
