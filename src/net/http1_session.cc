#include "net/http1_session.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "net/farewell.h"
#include "net/http1_exchange.h"

namespace inferd::net {
namespace {

// A body that brings less than this within body_timeout_ms makes no progress.
constexpr int64_t kBodyProgressBytes = 16 << 10;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

Http1Limits LimitsOf(const ListenerOptions& options) {
  return {.max_target_bytes = options.max_target_bytes,
          .max_header_bytes = options.max_header_bytes,
          .max_header_fields = options.max_header_fields,
          .max_body_bytes = options.max_body_bytes};
}

}  // namespace

Http1Session::Http1Session(Link link, std::string first_bytes)
    : link_(std::move(link)),
      core_(link_.core),
      parser_(LimitsOf(core_->options)),
      in_(std::move(first_bytes)),
      timer_(*link_.loop, [this] { OnTimer(); }) {}

Http1Session::~Http1Session() {
  ReleaseBody();
  if (phase_ == Phase::kAnswering) core_->work.Add(-1);
}

void Http1Session::Begin() {
  if (!link_.channel->SetOwner(this)) return Close();
  EnterPhase(Phase::kIdle);
  Step();
}

void Http1Session::OnReady(int /*fd*/, uint32_t epoll_events) {
  const std::shared_ptr<Connection> self = shared_from_this();
  link_.channel->OnEvents(epoll_events);
  Step();
}

void Http1Session::EnterPhase(Phase phase) {
  if ((phase == Phase::kAnswering) != (phase_ == Phase::kAnswering)) {
    core_->work.Add(phase == Phase::kAnswering ? 1 : -1);
  }
  phase_ = phase;
  const ListenerOptions& options = core_->options;
  const int64_t now_ms = link_.loop->NowMs();
  if (phase == Phase::kIdle) deadline_ms_ = now_ms + options.idle_timeout_ms;
  if (phase == Phase::kReading) deadline_ms_ = now_ms + options.header_timeout_ms;
}

void Http1Session::Step() {
  while (!ended_) {
    if (!Flush()) return;
    if (phase_ == Phase::kAnswering) {
      if (link_.channel->peer_closed()) {
        // After what the handler has said already, so that an immediate answer still
        // goes out.
        link_.loop->Post([weak = weak_from_this(), serial = serial_] {
          const auto self = std::static_pointer_cast<Http1Session>(weak.lock());
          if (self && self->Current(serial)) self->ClientGone();
        });
      }
      break;
    }
    if (!in_.empty()) {
      Parse(std::exchange(in_, {}));
    } else if (link_.channel->CanRead()) {
      ReadMore();
    } else {
      break;
    }
  }
  if (!ended_) Rearm();
}

void Http1Session::ReadMore() {
  const std::span<uint8_t> scratch = link_.loop->scratch();
  const auto result = link_.channel->Read(scratch);
  if (result.io == Channel::Io::kAgain) return;
  if (result.io != Channel::Io::kDone) return Close();
  Parse({reinterpret_cast<const char*>(scratch.data()), result.bytes});
}

void Http1Session::Parse(std::string_view bytes) {
  while (!bytes.empty()) {
    if (phase_ == Phase::kIdle) EnterPhase(Phase::kReading);
    const Http1Parser::State before = parser_.state();
    bytes.remove_prefix(parser_.Feed(bytes));
    const int64_t grown = std::max<int64_t>(0, body_bytes() - kFreeBodyBytes) - charged_bytes_;
    charged_bytes_ += grown;
    if (core_->body_bytes.fetch_add(grown) + grown > core_->options.max_pending_body_bytes) {
      return Refuse(503);
    }
    switch (parser_.state()) {
      case Http1Parser::State::kHead:
        break;
      case Http1Parser::State::kBody: {
        const bool begins = before == Http1Parser::State::kHead;
        // A client that sends its body at once does not wait to be asked.
        if (begins && parser_.expects_continue() && bytes.empty()) Queue(kContinue);
        if (begins || body_bytes() >= progress_mark_ + kBodyProgressBytes) {
          progress_mark_ = body_bytes();
          deadline_ms_ = link_.loop->NowMs() + core_->options.body_timeout_ms;
        }
        break;
      }
      case Http1Parser::State::kDone:
        in_ = bytes;
        return Dispatch();
      case Http1Parser::State::kFailed:
        return Refuse(parser_.error_status());
    }
  }
}

void Http1Session::Dispatch() {
  http10_ = parser_.http10();
  keep_alive_ = parser_.keep_alive();
  HttpRequest request = parser_.TakeRequest();
  ReleaseBody();
  request.peer = link_.peer;
  request.subject = link_.subject;
  head_only_ = request.method == "HEAD";
  ++serial_;
  stream_ready_ = false;
  stream_open_ = false;
  answer_complete_ = false;
  EnterPhase(Phase::kAnswering);
  core_->counters.http1_requests.fetch_add(1);
  core_->handlers.http(
      std::move(request),
      std::make_shared<Http1Exchange>(
          link_.loop, std::static_pointer_cast<Http1Session>(shared_from_this()), serial_));
}

bool Http1Session::Current(uint64_t serial) const {
  return !ended_ && phase_ == Phase::kAnswering && serial_ == serial && !answer_complete_;
}

void Http1Session::SetEvents(uint64_t serial, std::shared_ptr<HttpExchangeEvents> events) {
  if (Current(serial)) events_ = std::move(events);
}

void Http1Session::Respond(uint64_t serial, HttpResponse response) {
  if (!Current(serial)) return;
  // Too late for another answer.
  if (stream_open_) return Finish(serial, /*complete=*/false);
  keep_alive_ = keep_alive_ && !link_.shard->draining;
  Queue(Http1Head(response, Http1Framing::kLength, keep_alive_, core_->clock.UnixUs() / 1'000'000));
  if (!head_only_ && !HasNoBody(response.status)) Queue(response.body);
  answer_complete_ = true;
  Step();
}

void Http1Session::StartStream(uint64_t serial, HttpResponse head) {
  if (!Current(serial) || stream_open_) return;
  stream_ready_ = true;
  stream_head_ = std::move(head);
}

bool Http1Session::OpenStream() {
  if (!stream_ready_) return false;
  if (stream_open_) return true;
  stream_open_ = true;
  keep_alive_ = keep_alive_ && !http10_ && !link_.shard->draining;
  Queue(Http1Head(stream_head_, http10_ ? Http1Framing::kClose : Http1Framing::kChunked,
                  keep_alive_, core_->clock.UnixUs() / 1'000'000));
  return true;
}

void Http1Session::Write(uint64_t serial, std::string bytes) {
  if (!Current(serial)) return;
  if (write_pending_ || !OpenStream()) {
    core_->logger->error("a handler wrote out of turn; its connection is closed");
    return ClientGone();
  }
  write_pending_ = true;
  const bool body = !head_only_ && !bytes.empty() && !HasNoBody(stream_head_.status);
  if (body) Queue(http10_ ? bytes : Chunk(bytes));
  Step();
}

void Http1Session::Finish(uint64_t serial, bool complete) {
  if (!Current(serial)) return;
  if (!complete || !OpenStream()) {
    events_.reset();
    return SayFarewell(out_.substr(out_done_));
  }
  if (!http10_ && !head_only_ && !HasNoBody(stream_head_.status)) Queue(kLastChunk);
  answer_complete_ = true;
  Step();
}

void Http1Session::Dropped(uint64_t serial) {
  if (!Current(serial)) return;
  if (stream_open_) return Finish(serial, /*complete=*/false);
  Respond(serial, ErrorResponse(500));
}

void Http1Session::Queue(std::string_view bytes) {
  if (out_.empty()) written_ms_ = link_.loop->NowMs();
  out_ += bytes;
}

bool Http1Session::Flush() {
  while (out_done_ < out_.size()) {
    if (!link_.channel->CanWrite()) return true;
    const auto result = link_.channel->Write(
        {reinterpret_cast<const uint8_t*>(out_.data()) + out_done_, out_.size() - out_done_});
    if (result.io == Channel::Io::kAgain) return true;
    if (result.io != Channel::Io::kDone) {
      ClientGone();
      return false;
    }
    out_done_ += result.bytes;
    written_ms_ = link_.loop->NowMs();
  }
  out_done_ = 0;
  out_.clear();
  if (out_.capacity() > (64 << 10)) out_.shrink_to_fit();
  if (std::exchange(write_pending_, false) && events_) events_->OnWritten(true);
  if (phase_ == Phase::kAnswering && answer_complete_) AnswerDone();
  return !ended_;
}

void Http1Session::AnswerDone() {
  events_.reset();
  stream_head_ = {};
  if (keep_alive_) {
    EnterPhase(Phase::kIdle);
    if (link_.shard->draining && in_.empty()) Close();
    return;
  }
  SayFarewell({});
}

void Http1Session::Refuse(int status) {
  const HttpResponse response = ErrorResponse(status);
  std::string bytes = out_.substr(out_done_);
  bytes += Http1Head(response, Http1Framing::kLength, /*keep_alive=*/false,
                     core_->clock.UnixUs() / 1'000'000);
  bytes += response.body;
  SayFarewell(std::move(bytes));
}

void Http1Session::SayFarewell(std::string last_bytes) {
  const std::shared_ptr<Connection> self = shared_from_this();
  EnterPhase(Phase::kIdle);
  ended_ = true;
  timer_.Clear();
  ReleaseBody();
  const std::shared_ptr<Shard> shard = link_.shard;
  const uint64_t id = link_.id;
  Enter(*shard, id, std::make_shared<Farewell>(std::move(link_), std::move(last_bytes)));
}

void Http1Session::ReleaseBody() { core_->body_bytes.fetch_sub(std::exchange(charged_bytes_, 0)); }

void Http1Session::ClientGone() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const std::shared_ptr<HttpExchangeEvents> events = std::move(events_);
  const bool owed = std::exchange(write_pending_, false);
  Close();
  if (events && owed) events->OnWritten(false);
  if (events) events->OnDisconnect();
}

void Http1Session::Close() {
  if (ended_) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  ended_ = true;
  timer_.Clear();
  link_.shard->connections.erase(link_.id);
}

void Http1Session::Drain() {
  if (phase_ == Phase::kIdle && in_.empty() && out_.empty()) Close();
}

void Http1Session::Abort() { ClientGone(); }

void Http1Session::Rearm() {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  int64_t due = phase_ == Phase::kAnswering ? kNever : deadline_ms_;
  if (!out_.empty()) due = std::min(due, written_ms_ + core_->options.write_stall_timeout_ms);
  if (due == kNever) {
    timer_.Clear();
  } else {
    timer_.SetAt(due);
  }
}

void Http1Session::OnTimer() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const int64_t now_ms = link_.loop->NowMs();
  if (!out_.empty() && now_ms >= written_ms_ + core_->options.write_stall_timeout_ms) {
    core_->counters.stalled.fetch_add(1);
    return ClientGone();
  }
  if (phase_ != Phase::kAnswering && now_ms >= deadline_ms_) {
    if (phase_ == Phase::kIdle) return Close();
    core_->counters.timed_out.fetch_add(1);
    return Refuse(408);
  }
  Rearm();
}

}  // namespace inferd::net
