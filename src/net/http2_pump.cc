#include "net/http2_pump.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>

#include "net/farewell.h"
#include "net/http2_goaway.h"
#include "net/peer_name.h"

namespace inferd::net {
namespace {

constexpr int kSocketBufferBytes = 64 << 10;
constexpr int kRoundsPerStep = 16;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// A slow client, or one that came when others had taken the room, did nothing wrong.
bool IsOffence(Http2Violation violation) {
  return violation != Http2Violation::kBodyTimeout && violation != Http2Violation::kPendingBodies;
}

}  // namespace

Http2Pump::Http2Pump(Link link, std::string first_bytes)
    : link_(std::move(link)),
      core_(link_.core),
      first_bytes_(std::move(first_bytes)),
      guard_(link_.core->options.http2, link_.core->NowMs()),
      timer_(*link_.loop, [this] { OnTimer(); }) {}

Http2Pump::~Http2Pump() {
  core_->work.Add(-counted_streams_);
  core_->body_bytes.fetch_sub(charged_bytes_);
}

bool Http2Pump::OpenPair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    link_.core->counters.accept_errors.fetch_add(1);
    return false;
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  for (const int fd : ends) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBufferBytes, sizeof(kSocketBufferBytes));
  }
  BindPeerName(ours.get(), link_.peer, link_.subject);
  server_ = std::make_unique<Channel>(link_.loop, std::move(ours));
  if (!server_->SetOwner(this)) return false;
  link_.core->handlers.accept_http2(theirs.Release());
  return true;
}

void Http2Pump::Begin() {
  if (!link_.channel->SetOwner(this) || !OpenPair()) return Abort();
  link_.core->counters.http2_connections.fetch_add(1);
  last_activity_ms_ = link_.loop->NowMs();
  server_took_ms_ = last_activity_ms_;
  std::vector<uint8_t> bytes(first_bytes_.begin(), first_bytes_.end());
  first_bytes_.clear();
  if (!JudgeAndForward(bytes)) return;
  Step();
}

void Http2Pump::OnReady(int fd, uint32_t epoll_events) {
  const std::shared_ptr<Connection> self = shared_from_this();
  (fd == link_.channel->fd() ? *link_.channel : *server_).OnEvents(epoll_events);
  Step();
}

Channel::Io Http2Pump::Send(Channel& to, Backlog& backlog, std::span<const uint8_t> bytes) {
  while (!bytes.empty() && to.CanWrite()) {
    const auto result = to.Write(bytes);
    if (result.io == Channel::Io::kAgain) break;
    if (result.io != Channel::Io::kDone) return result.io;
    bytes = bytes.subspan(result.bytes);
  }
  if (bytes.empty()) return Channel::Io::kDone;
  backlog.bytes.assign(bytes.begin(), bytes.end());
  backlog.done = 0;
  return Channel::Io::kAgain;
}

Channel::Io Http2Pump::Flush(Channel& to, Backlog& backlog) {
  while (backlog.done < backlog.bytes.size()) {
    if (!to.CanWrite()) return Channel::Io::kAgain;
    const auto result = to.Write(std::span(backlog.bytes).subspan(backlog.done));
    if (result.io != Channel::Io::kDone) return result.io;
    backlog.done += result.bytes;
    (&backlog == &to_client_ ? client_took_ms_ : server_took_ms_) = link_.loop->NowMs();
  }
  // Idle connections keep no buffer.
  backlog = {};
  return Channel::Io::kDone;
}

bool Http2Pump::JudgeAndForward(std::span<uint8_t> bytes) {
  const Http2FrameGuard::Verdict verdict = guard_.FeedClient(bytes, link_.core->NowMs());
  CountStreams();
  ChargeResets();
  if (!ChargeBodies()) {
    Violate(Http2Violation::kPendingBodies);
    return false;
  }
  // The server is spared what came with the offence.
  if (verdict.violation) {
    Violate(*verdict.violation);
    return false;
  }
  if (server_closed_ || bytes.empty()) return true;
  if (paused()) {
    to_server_.bytes.assign(bytes.begin(), bytes.end());
    to_server_.done = 0;
  } else if (Send(*server_, to_server_, bytes) == Channel::Io::kError) {
    server_closed_ = true;
  }
  return true;
}

bool Http2Pump::ReadClient() {
  const std::span<uint8_t> scratch = link_.loop->scratch();
  const auto result = link_.channel->Read(scratch);
  switch (result.io) {
    case Channel::Io::kAgain:
      return true;
    case Channel::Io::kError:
      Abort();
      return false;
    case Channel::Io::kEof:
      client_ended_ = true;
      return true;
    case Channel::Io::kDone:
      break;
  }
  last_activity_ms_ = link_.loop->NowMs();
  server_took_ms_ = last_activity_ms_;
  return JudgeAndForward(scratch.first(result.bytes));
}

bool Http2Pump::ReadServer() {
  const std::span<uint8_t> scratch = link_.loop->scratch();
  const auto result = server_->Read(scratch);
  if (result.io == Channel::Io::kAgain) return true;
  if (result.io != Channel::Io::kDone) {
    // gRPC closes after its own GOAWAY; what it wrote before is with the client.
    End(std::nullopt, {});
    return false;
  }
  const std::span<uint8_t> bytes = scratch.first(result.bytes);
  const auto violation = guard_.FeedServer(bytes, link_.core->NowMs());
  CountStreams();
  ChargeResets();
  static_cast<void>(ChargeBodies());
  client_took_ms_ = link_.loop->NowMs();
  if (Send(*link_.channel, to_client_, bytes) == Channel::Io::kError) {
    Abort();
    return false;
  }
  if (violation) {
    Violate(*violation);
    return false;
  }
  return true;
}

void Http2Pump::Step() {
  for (int round = 0; round < kRoundsPerStep; ++round) {
    if (ended_) return;
    if (!to_server_.empty() && !paused() && Flush(*server_, to_server_) == Channel::Io::kError) {
      server_closed_ = true;
      to_server_ = {};
    }
    if (!to_client_.empty() && Flush(*link_.channel, to_client_) == Channel::Io::kError) {
      return Abort();
    }
    // Before the client is read: what it sends from here on is above the last stream
    // that GOAWAY names, so it asks elsewhere.
    if (MayLeave()) return End(kHttp2NoError, {});
    const bool from_client =
        to_server_.empty() && !client_ended_ && !paused() && link_.channel->CanRead();
    if (from_client && !ReadClient()) return;
    if (client_ended_ && to_server_.empty() && !server_closed_) {
      // gRPC takes the end of input for the end of the connection, as it would of a
      // client's socket, and closes its end.
      server_closed_ = true;
      server_->EndWriting();
    }
    const bool from_server = to_client_.empty() && server_->CanRead();
    if (from_server && !ReadServer()) return;
    if (!from_client && !from_server) return Rearm();
  }
  // The others' turn.
  Rearm();
  if (step_posted_) return;
  step_posted_ = true;
  link_.loop->Post([weak = weak_from_this()] {
    if (const auto self = std::static_pointer_cast<Http2Pump>(weak.lock())) {
      self->step_posted_ = false;
      self->Step();
    }
  });
}

void Http2Pump::CountStreams() {
  const int64_t now = guard_.open_streams();
  link_.core->work.Add(now - counted_streams_);
  counted_streams_ = now;
}

bool Http2Pump::ChargeBodies() {
  const int64_t grown = guard_.held_bytes() - charged_bytes_;
  charged_bytes_ += grown;
  const int64_t all = core_->body_bytes.fetch_add(grown) + grown;
  return grown <= 0 || all <= core_->options.max_pending_body_bytes;
}

void Http2Pump::Charge(int64_t points) {
  if (!core_->ledger.Charge(link_.address, points, core_->NowMs())) return;
  core_->logger->warn("new connections of {} are refused for {} ms: too many were ended",
                      link_.peer, core_->options.http2.penalty_ms);
}

void Http2Pump::ChargeResets() {
  const int64_t resets = guard_.resets() - charged_resets_;
  if (resets == 0) return;
  charged_resets_ = guard_.resets();
  Charge(resets);
  if (guard_.resets_in_window() <= kFreeResets) return;
  const int64_t wait_ms = core_->reset_pace.Add(resets, core_->NowMs());
  if (wait_ms > 0) resume_ms_ = link_.loop->NowMs() + wait_ms;
}

void Http2Pump::Violate(Http2Violation violation) {
  const std::string_view name = Http2ViolationName(violation);
  core_->counters.http2_violations[static_cast<size_t>(violation)].fetch_add(1);
  if (core_->ledger.MayTell(link_.address, core_->NowMs())) {
    core_->logger->warn("http2 connection of {} ended: {}", link_.peer, name);
  }
  if (IsOffence(violation)) Charge(core_->options.http2.max_resets);
  End(kHttp2EnhanceYourCalm, name);
}

void Http2Pump::End(std::optional<uint32_t> error_code, std::string_view reason) {
  // A frame of gRPC's that was begun must be finished before ours; it is there
  // unless gRPC itself waits for room.
  std::string last(to_client_.bytes.begin() + static_cast<ptrdiff_t>(to_client_.done),
                   to_client_.bytes.end());
  for (int round = 0; round < 2 && !guard_.server_at_boundary(); ++round) {
    const std::span<uint8_t> scratch = link_.loop->scratch();
    const auto result = server_->Read(scratch);
    if (result.io != Channel::Io::kDone) break;
    static_cast<void>(guard_.FeedServer(scratch.first(result.bytes), link_.core->NowMs()));
    last.append(reinterpret_cast<const char*>(scratch.data()), result.bytes);
  }
  if (error_code && guard_.server_at_boundary()) {
    last += Http2Goaway(guard_.last_stream(), *error_code, reason);
  }
  const std::shared_ptr<Connection> self = shared_from_this();
  ended_ = true;
  timer_.Clear();
  server_.reset();
  // By value: the shard outlives the link that moves away.
  const std::shared_ptr<Shard> shard = link_.shard;
  const uint64_t id = link_.id;
  Enter(*shard, id, std::make_shared<Farewell>(std::move(link_), std::move(last)));
}

void Http2Pump::Abort() {
  const std::shared_ptr<Connection> self = shared_from_this();
  ended_ = true;
  timer_.Clear();
  link_.shard->connections.erase(link_.id);
}

void Http2Pump::Drain() {
  const std::shared_ptr<Connection> self = shared_from_this();
  draining_ = true;
  if (!ended_ && MayLeave()) End(kHttp2NoError, {});
}

bool Http2Pump::MayLeave() const {
  return draining_ && guard_.open_streams() == 0 && to_client_.empty();
}

void Http2Pump::Rearm() {
  const ListenerOptions& options = link_.core->options;
  const int64_t now_ms = link_.loop->NowMs();
  int64_t due = kNever;
  // The guard counts in the listener's time, the timer in the loop's.
  if (guard_.DueMs() != kNever) due = now_ms + guard_.DueMs() - link_.core->NowMs();
  if (!to_client_.empty()) due = std::min(due, client_took_ms_ + options.write_stall_timeout_ms);
  if (!to_server_.empty()) due = std::min(due, server_took_ms_ + options.write_stall_timeout_ms);
  if (paused()) due = std::min(due, resume_ms_);
  if (guard_.open_streams() == 0) due = std::min(due, last_activity_ms_ + options.idle_timeout_ms);
  if (due == kNever) {
    timer_.Clear();
  } else {
    timer_.SetAt(due);
  }
}

void Http2Pump::OnTimer() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const ListenerOptions& options = link_.core->options;
  const int64_t now_ms = link_.loop->NowMs();
  if (const auto violation = guard_.CheckTime(link_.core->NowMs())) {
    link_.core->counters.timed_out.fetch_add(1);
    return Violate(*violation);
  }
  if (!to_client_.empty() && now_ms >= client_took_ms_ + options.write_stall_timeout_ms) {
    link_.core->counters.stalled.fetch_add(1);
    return Abort();
  }
  // gRPC stops reading when it gave a connection up and still waits for its calls.
  if (!to_server_.empty() && now_ms >= server_took_ms_ + options.write_stall_timeout_ms) {
    return Abort();
  }
  if (guard_.open_streams() == 0 && to_client_.empty() &&
      now_ms >= last_activity_ms_ + options.idle_timeout_ms) {
    return End(kHttp2NoError, {});
  }
  // It may have been paused until now.
  Step();
}

}  // namespace inferd::net
