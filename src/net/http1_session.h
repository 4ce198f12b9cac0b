// One HTTP/1.x connection: requests one after another, one answer at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "inferd/net/http.h"
#include "net/http1_parser.h"
#include "net/http1_response.h"
#include "net/listener_core.h"

namespace inferd::net {

// On its loop's thread. While an answer is under way nothing is read: what a client
// sends ahead waits in the kernel. A client that closes its sending side during an
// answer counts as gone, as with most servers: a client that was killed looks no
// different.
class Http1Session final : public Connection {
 public:
  // `first_bytes`: what was read to tell the protocol.
  Http1Session(Link link, std::string first_bytes);
  ~Http1Session() override;
  void Begin() override;
  void OnReady(int fd, uint32_t epoll_events) override;
  void Drain() override;
  void Abort() override;

  // The exchange's side; `serial` says which. Calls for another do nothing.
  void SetEvents(uint64_t serial, std::shared_ptr<HttpExchangeEvents> events);
  void Respond(uint64_t serial, HttpResponse response);
  void StartStream(uint64_t serial, HttpResponse head);
  void Write(uint64_t serial, std::string bytes);
  void Finish(uint64_t serial, bool complete);
  // The handler let go of the exchange.
  void Dropped(uint64_t serial);

 private:
  enum class Phase {
    kIdle,       // between requests
    kReading,    // a request began to arrive
    kAnswering,  // the handler has it
  };

  bool Current(uint64_t serial) const;
  void Step();
  void ReadMore();
  void Parse(std::string_view bytes);
  void Dispatch();
  void Queue(std::string_view bytes);
  // Sends what is there; false when the connection ended.
  bool Flush();
  void AnswerDone();
  void Refuse(int status);
  // The regular end: the client gets what was queued.
  void SayFarewell(std::string last_bytes);
  void ClientGone();
  void Close();
  void EnterPhase(Phase phase);
  void OnTimer();
  void Rearm();
  void ReleaseBody();
  bool OpenStream();
  int64_t body_bytes() const { return static_cast<int64_t>(parser_.request().body.size()); }

  Link link_;  // empty once ended
  const std::shared_ptr<ListenerCore> core_;
  Http1Parser parser_;
  std::string in_;  // read, not yet parsed: at most one read
  std::string out_;
  size_t out_done_ = 0;
  Phase phase_ = Phase::kIdle;
  bool ended_ = false;

  // Of the request under way.
  uint64_t serial_ = 0;
  bool head_only_ = false;  // HEAD
  bool http10_ = false;
  bool keep_alive_ = true;
  std::shared_ptr<HttpExchangeEvents> events_;
  bool stream_ready_ = false;  // StartStream; the head waits for the first Write
  bool stream_open_ = false;   // the head is out
  HttpResponse stream_head_;
  bool write_pending_ = false;  // OnWritten is owed
  bool answer_complete_ = false;

  int64_t charged_bytes_ = 0;  // of core_->body_bytes
  int64_t deadline_ms_ = 0;    // of the phase
  int64_t progress_mark_ = 0;  // body bytes when the deadline was set
  int64_t written_ms_ = 0;     // when out_ last moved
  Timer timer_;
};

}  // namespace inferd::net
