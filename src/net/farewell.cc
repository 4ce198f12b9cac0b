#include "net/farewell.h"

namespace inferd::net {
namespace {

constexpr int64_t kMaxMs = 1'000;
constexpr size_t kMaxDroppedBytes = 4 << 20;

}  // namespace

Farewell::Farewell(Link link, std::string last_bytes)
    : link_(std::move(link)),
      bytes_(std::move(last_bytes)),
      timer_(*link_.loop, [this] { Abort(); }) {}

void Farewell::Begin() {
  if (!link_.channel->SetOwner(this)) return Abort();
  timer_.SetAfter(kMaxMs);
  Step();
}

void Farewell::OnReady(int /*fd*/, uint32_t epoll_events) {
  const std::shared_ptr<Connection> self = shared_from_this();
  link_.channel->OnEvents(epoll_events);
  Step();
}

void Farewell::Step() {
  Channel& channel = *link_.channel;
  while (written_ < bytes_.size()) {
    const auto result = channel.Write(
        {reinterpret_cast<const uint8_t*>(bytes_.data()) + written_, bytes_.size() - written_});
    if (result.io == Channel::Io::kAgain) return;
    if (result.io != Channel::Io::kDone) return Abort();
    written_ += result.bytes;
  }
  if (!ended_) channel.EndWriting();
  ended_ = true;
  while (channel.CanRead()) {
    const auto result = channel.Read(link_.loop->scratch());
    if (result.io == Channel::Io::kAgain) return;
    dropped_ += result.bytes;
    if (result.io != Channel::Io::kDone || dropped_ > kMaxDroppedBytes) return Abort();
  }
}

void Farewell::Abort() {
  const std::shared_ptr<Connection> self = shared_from_this();
  timer_.Clear();
  link_.shard->connections.erase(link_.id);
}

}  // namespace inferd::net
