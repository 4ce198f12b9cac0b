// An HTTP/2 connection: carries bytes between the client and gRPC, past the guard.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/http2_frame_guard.h"
#include "net/listener_core.h"

namespace inferd::net {

// On its loop's thread. Keeps at most one read (32 KiB) per direction: while one side
// takes nothing, the other is not read.
class Http2Pump final : public Connection {
 public:
  // `first_bytes`: what was read to tell the protocol.
  Http2Pump(Link link, std::string first_bytes);
  ~Http2Pump() override;
  void Begin() override;
  void OnReady(int fd, uint32_t epoll_events) override;
  void Drain() override;
  void Abort() override;

 private:
  // Bytes on their way to one side that it did not take yet.
  struct Backlog {
    std::vector<uint8_t> bytes;
    size_t done = 0;
    bool empty() const { return bytes.empty(); }
  };

  bool OpenPair();
  void Step();
  // False when the pump ended.
  bool ReadClient();
  bool ReadServer();
  bool JudgeAndForward(std::span<uint8_t> bytes);
  Channel::Io Send(Channel& to, Backlog& backlog, std::span<const uint8_t> bytes);
  Channel::Io Flush(Channel& to, Backlog& backlog);
  // With an error code (RFC 9113, section 7): after a GOAWAY, where one can be put in.
  void End(std::optional<uint32_t> error_code, std::string_view reason);
  void Violate(Http2Violation violation);
  // Counts it against the client's address.
  void Charge(int64_t points);
  void ChargeResets();
  bool paused() const { return resume_ms_ > link_.loop->NowMs(); }
  void OnTimer();
  void Rearm();
  // Draining, and nothing is owed to the client.
  bool MayLeave() const;
  void CountStreams();
  // False when the bodies of all connections are too much with this one's.
  bool ChargeBodies();

  Link link_;  // empty once ended
  const std::shared_ptr<ListenerCore> core_;
  std::string first_bytes_;
  std::unique_ptr<Channel> server_;
  Http2FrameGuard guard_;
  Backlog to_client_;
  Backlog to_server_;
  bool client_ended_ = false;   // it sends nothing more
  bool server_closed_ = false;  // it takes nothing more
  bool ended_ = false;
  bool step_posted_ = false;
  int64_t client_took_ms_ = 0;  // when to_client_ last moved
  int64_t server_took_ms_ = 0;  // likewise
  int64_t last_activity_ms_ = 0;
  bool draining_ = false;
  int64_t counted_streams_ = 0;
  int64_t charged_bytes_ = 0;   // of core_->body_bytes
  int64_t charged_resets_ = 0;  // to the address
  int64_t resume_ms_ = 0;       // the client is not read before; 0: it is
  Timer timer_;
};

}  // namespace inferd::net
