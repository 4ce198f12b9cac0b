// The bytes of one connection: a non-blocking stream socket, perhaps under TLS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"
#include "net/event_loop.h"

struct ssl_st;
struct ssl_ctx_st;

namespace inferd::net {

// Lives on its loop's thread. Remembers what the edge-triggered loop said last, so
// an owner may try again at any time.
class Channel {
 public:
  enum class Io { kDone, kAgain, kEof, kError };
  struct Result {
    Io io = Io::kError;
    size_t bytes = 0;  // with kDone; at least 1
  };

  Channel(std::shared_ptr<EventLoop> loop, UniqueFd fd);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();

  // Events go to `owner` from now on. False when the kernel has no room.
  bool SetOwner(EventLoop::Source* owner);
  // The owner passes its events on.
  void OnEvents(uint32_t epoll_events);

  // False when out of memory. Then Handshake until it is not kAgain.
  bool StartTls(ssl_ctx_st* context);
  Io Handshake();
  // The handshake failed because the client speaks HTTP without TLS.
  bool peer_spoke_plain_http() const { return peer_spoke_plain_http_; }
  // After a failed handshake: what is written from now on is plain, and what the client
  // sent so far is dropped. Whether TLS itself has told the client anything.
  bool DropTls();
  // RFC 2253 name of the client's verified certificate; empty when there is none, or
  // when it is longer than 16 KiB.
  std::string Subject() const;

  Result Read(std::span<uint8_t> into);
  Result Write(std::span<const uint8_t> from);
  // After the last Write: tells the peer that nothing follows.
  void EndWriting();

  bool CanRead() const;
  bool CanWrite() const;
  // The peer closed its sending side or the whole connection. Bytes it sent before
  // may still be there to read.
  bool peer_closed() const { return peer_closed_; }
  int fd() const { return fd_.get(); }
  EventLoop& loop() { return *loop_; }

 private:
  struct SslDeleter {
    void operator()(ssl_st* ssl) const;
  };
  Io Explain(int result);

  std::shared_ptr<EventLoop> loop_;
  UniqueFd fd_;
  std::unique_ptr<ssl_st, SslDeleter> ssl_;
  bool watched_ = false;
  bool readable_ = true;
  bool writable_ = true;
  bool peer_closed_ = false;
  bool handshaken_ = false;
  bool peer_spoke_plain_http_ = false;
  bool failed_ = false;  // TLS may not be used after a fatal error
  // TLS may have to write in order to read, and the reverse.
  bool read_waits_for_write_ = false;
  bool write_waits_for_read_ = false;
};

}  // namespace inferd::net
