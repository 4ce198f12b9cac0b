#include "comm/handshake.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace inferd {
namespace {

constexpr size_t kMinKeyBytes = 16;

// What the key is used for, so that no tag can stand for another.
enum class Purpose : uint64_t { kProof = 1, kSession = 2 };

template <typename T>
std::span<std::byte> BytesOf(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace

Status CheckLinkKey(const std::string& key) {
  if (key.size() >= kMinKeyBytes) return OkStatus();
  return InvalidArgumentError("the key of links between hosts needs at least 16 bytes");
}

Handshake::Handshake(UniqueFd socket, End end, Hello mine, const std::string& key,
                     const Judge& judge, EntropySource& entropy)
    : socket_(std::move(socket)), end_(end), key_(key), judge_(judge), mine_(mine) {
  const int on = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  mine_.nonce_low = entropy.Next64();
  mine_.nonce_high = entropy.Next64();
  Queue(BytesOf(mine_));
}

pollfd Handshake::Wanted() const {
  const short out = out_done_ < out_.size() ? POLLOUT : 0;
  const short in = phase_ != Phase::kOver ? POLLIN : 0;
  return {socket_.get(), static_cast<short>(out | in), 0};
}

Handshake::State Handshake::Refuse(std::string why, bool judged) {
  refusal_ = std::move(why);
  judged_ = judged;
  phase_ = Phase::kOver;
  return State::kRefused;
}

void Handshake::Queue(std::span<const std::byte> bytes) {
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

bool Handshake::Flush() {
  while (out_done_ < out_.size()) {
    const ssize_t n =
        send(socket_.get(), out_.data() + out_done_, out_.size() - out_done_, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    // Not connected yet, or no room.
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return false;
    if (n < 0) {
      Refuse("a connection failed: " + std::string(std::strerror(errno)), /*judged=*/false);
      return false;
    }
    out_done_ += static_cast<size_t>(n);
  }
  return true;
}

bool Handshake::Fill(std::span<std::byte> into) {
  while (in_done_ < into.size()) {
    const ssize_t n = recv(socket_.get(), into.data() + in_done_, into.size() - in_done_, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return false;
    if (n <= 0) {
      Refuse(phase_ == Phase::kHello ? "a connection ended before its hello"
                                     : "a connection ended before its proof of the key",
             /*judged=*/false);
      return false;
    }
    in_done_ += static_cast<size_t>(n);
  }
  in_done_ = 0;
  return true;
}

Handshake::State Handshake::Step() {
  for (;;) {
    const bool flushed = Flush();
    if (!refusal_.empty()) return State::kRefused;
    if (phase_ == Phase::kOver) return flushed ? State::kDone : State::kGoing;
    const bool hello = phase_ == Phase::kHello;
    const bool filled = Fill(hello ? BytesOf(theirs_) : BytesOf(their_tag_));
    if (!refusal_.empty()) return State::kRefused;
    if (!filled) return State::kGoing;
    if (hello ? OnHello() == State::kRefused : OnTag() == State::kRefused) {
      return State::kRefused;
    }
  }
}

Handshake::State Handshake::OnHello() {
  if (theirs_.magic != Hello::kMagic) {
    return Refuse("a connection was refused that is not a rank's", /*judged=*/true);
  }
  if (theirs_.version != Hello::kVersion) {
    return Refuse("a rank of version " + std::to_string(theirs_.version) +
                      " was refused, this is " + std::to_string(Hello::kVersion),
                  /*judged=*/true);
  }
  phase_ = Phase::kTag;
  if (end_ == End::kConnects) Queue(Tag(End::kConnects));
  return State::kGoing;
}

Handshake::State Handshake::OnTag() {
  const End other = end_ == End::kConnects ? End::kAccepts : End::kConnects;
  if (!SameTag(their_tag_, Tag(other))) {
    return Refuse("a connection was refused: wrong key", /*judged=*/true);
  }
  if (std::string why = judge_(theirs_); !why.empty()) {
    return Refuse(std::move(why), /*judged=*/true);
  }
  if (end_ == End::kAccepts) Queue(Tag(End::kAccepts));
  phase_ = Phase::kOver;
  return State::kGoing;
}

HmacTag Handshake::Tag(End of) const {
  struct {
    Purpose purpose = Purpose::kProof;
    uint64_t end = 0;
    Hello connects;
    Hello accepts;
  } said;
  said.end = static_cast<uint64_t>(of);
  said.connects = end_ == End::kConnects ? mine_ : theirs_;
  said.accepts = end_ == End::kConnects ? theirs_ : mine_;
  return HmacSha256(key_, BytesOf(said));
}

HashKey Handshake::DirectionKey(End from) const {
  struct {
    Purpose purpose = Purpose::kSession;
    uint64_t end = 0;
    Hello connects;
    Hello accepts;
  } said;
  said.end = static_cast<uint64_t>(from);
  said.connects = end_ == End::kConnects ? mine_ : theirs_;
  said.accepts = end_ == End::kConnects ? theirs_ : mine_;
  const HmacTag tag = HmacSha256(key_, BytesOf(said));
  HashKey key;
  static_assert(sizeof(key) <= sizeof(tag));
  std::memcpy(&key, tag.data(), sizeof(key));
  return key;
}

HashKey Handshake::SendKey() const { return DirectionKey(end_); }

HashKey Handshake::ReceiveKey() const {
  return DirectionKey(end_ == End::kConnects ? End::kAccepts : End::kConnects);
}

}  // namespace inferd
