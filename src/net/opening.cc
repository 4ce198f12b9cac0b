#include "net/opening.h"

#include <algorithm>
#include <string_view>

#include "net/farewell.h"
#include "net/http1_response.h"
#include "net/http1_session.h"
#include "net/http2_pump.h"

namespace inferd::net {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// A TLS record with the fatal alert protocol_version.
constexpr std::string_view kNotTls("\x15\x03\x01\x00\x02\x02\x46", 7);

}  // namespace

Opening::Opening(Link link) : link_(std::move(link)), timer_(*link_.loop, [this] { OnTimer(); }) {}

void Opening::Begin() {
  if (!link_.channel->SetOwner(this)) return Abort();
  timer_.SetAfter(link_.core->options.handshake_timeout_ms);
  if (link_.core->tls != nullptr) {
    tls_ = link_.core->tls->Current();
    handshaking_ = true;
    if (!link_.channel->StartTls(tls_.get())) return Abort();
  }
  Step();
}

void Opening::OnReady(int /*fd*/, uint32_t epoll_events) {
  const std::shared_ptr<Connection> self = shared_from_this();
  link_.channel->OnEvents(epoll_events);
  Step();
}

void Opening::Step() {
  if (handshaking_) {
    const Channel::Io io = link_.channel->Handshake();
    if (io == Channel::Io::kAgain) return;
    if (io != Channel::Io::kDone) {
      link_.core->counters.handshakes_failed.fetch_add(1);
      return io == Channel::Io::kError ? RefuseHandshake() : Abort();
    }
    handshaking_ = false;
    tls_.reset();
    link_.subject = link_.channel->Subject();
  }
  bool http2 = false;
  while (true) {
    const std::span<uint8_t> scratch = link_.loop->scratch();
    const auto result = link_.channel->Read(scratch);
    if (result.io == Channel::Io::kAgain) return;
    if (result.io != Channel::Io::kDone) return Abort();
    first_bytes_.append(reinterpret_cast<const char*>(scratch.data()), result.bytes);
    const size_t compared = std::min(first_bytes_.size(), kPreface.size());
    if (first_bytes_.compare(0, compared, kPreface, 0, compared) != 0) break;
    http2 = compared == kPreface.size();
    if (http2) break;
  }
  const std::shared_ptr<Connection> self = shared_from_this();
  const bool served = http2 ? static_cast<bool>(link_.core->handlers.accept_http2)
                            : static_cast<bool>(link_.core->handlers.http);
  if (!served) return Abort();
  timer_.Clear();
  const std::shared_ptr<Shard> shard = link_.shard;
  const uint64_t id = link_.id;
  if (http2) {
    Enter(*shard, id, std::make_shared<Http2Pump>(std::move(link_), std::move(first_bytes_)));
  } else {
    Enter(*shard, id, std::make_shared<Http1Session>(std::move(link_), std::move(first_bytes_)));
  }
}

// The client hears why, and no reset overtakes it: TLS has sent its alert, but none to what
// is not TLS at all.
void Opening::RefuseHandshake() {
  const std::shared_ptr<Connection> self = shared_from_this();
  timer_.Clear();
  std::string last_bytes;
  const bool http = link_.channel->peer_spoke_plain_http();
  const bool told = link_.channel->DropTls();
  if (http) {
    const HttpResponse response = ErrorResponse(400, "This port speaks TLS: use https.");
    last_bytes = Http1Head(response, Http1Framing::kLength, /*keep_alive=*/false,
                           link_.core->clock.UnixUs() / 1'000'000) +
                 response.body;
  } else if (!told) {
    last_bytes = kNotTls;
  }
  const std::shared_ptr<Shard> shard = link_.shard;
  const uint64_t id = link_.id;
  Enter(*shard, id, std::make_shared<Farewell>(std::move(link_), std::move(last_bytes)));
}

void Opening::OnTimer() {
  link_.core->counters.timed_out.fetch_add(1);
  if (handshaking_) link_.core->counters.handshakes_failed.fetch_add(1);
  Abort();
}

// Nothing was asked yet.
void Opening::Drain() { Abort(); }

void Opening::Abort() {
  const std::shared_ptr<Connection> self = shared_from_this();
  timer_.Clear();
  link_.shard->connections.erase(link_.id);
}

}  // namespace inferd::net
