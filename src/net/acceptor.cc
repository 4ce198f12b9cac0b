#include "net/acceptor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net/opening.h"

namespace inferd::net {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kRetryMs = 100;

// The connection ends with a reset once it is closed: the kernel remembers nothing of it,
// where it would keep what was closed in peace for a minute.
void Refuse(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

UniqueFd OpenReserve() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Acceptor::Acceptor(std::shared_ptr<ListenerCore> core, ListeningSocket socket,
                   std::vector<Place> places)
    : core_(std::move(core)),
      socket_(std::move(socket)),
      places_(std::move(places)),
      reserve_(OpenReserve()),
      retry_(*places_.front().loop, [this] { AcceptSome(); }) {}

Acceptor::~Acceptor() { Close(); }

bool Acceptor::Begin() {
  watched_ = places_.front().loop->Watch(socket_.fd.get(), this);
  return watched_;
}

void Acceptor::Close() {
  if (!socket_.fd) return;
  if (watched_) places_.front().loop->Unwatch(socket_.fd.get());
  retry_.Clear();
  socket_.fd.Reset();
  if (!socket_.unix_path.empty()) ::unlink(socket_.unix_path.c_str());
}

void Acceptor::OnReady(int /*fd*/, uint32_t /*epoll_events*/) { AcceptSome(); }

void Acceptor::AcceptSome() {
  if (!socket_.fd) return;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    UniqueFd fd(::accept4(socket_.fd.get(), reinterpret_cast<sockaddr*>(&address), &size,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      Take(std::move(fd), address);
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EINTR) continue;
    const int error = errno;
    core_->counters.accept_errors.fetch_add(1);
    // The newcomer went away before its turn.
    if (error == ECONNABORTED || error == EPROTO) continue;
    const bool out_of_descriptors = error == EMFILE || error == ENFILE;
    if (out_of_descriptors && TurnOneAway()) continue;
    return retry_.SetAfter(kRetryMs);
  }
  // Others have their turn first; an edge-triggered loop does not say it again.
  retry_.SetAfter(0);
}

bool Acceptor::TurnOneAway() {
  if (!reserve_) reserve_ = OpenReserve();
  if (!reserve_) return false;
  reserve_.Reset();
  UniqueFd newcomer(::accept4(socket_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const bool turned_away = static_cast<bool>(newcomer);
  newcomer.Reset();
  // Where another thread was quicker there is no reserve until the next time.
  reserve_ = OpenReserve();
  return turned_away;
}

bool Acceptor::Admits(const AddressKey& key) {
  switch (core_->ledger.Admit(key, core_->NowMs())) {
    case AddressLedger::Admission::kAdmitted:
      return true;
    case AddressLedger::Admission::kTooMany:
      core_->counters.refused_too_fast.fetch_add(1);
      return false;
    case AddressLedger::Admission::kShutOut:
      core_->counters.refused_shut_out.fetch_add(1);
      return false;
  }
  return false;
}

void Acceptor::Take(UniqueFd fd, const sockaddr_storage& address) {
  const AddressKey key = KeyOf(address);
  if (!Admits(key)) return Refuse(fd.get());
  ConnectionCaps::Answer answer = core_->caps.Take(key);
  if (answer.refusal) {
    (*answer.refusal == ConnectionCaps::Refusal::kTotal ? core_->counters.refused_total
                                                        : core_->counters.refused_per_address)
        .fetch_add(1);
    return Refuse(fd.get());
  }
  core_->counters.accepted.fetch_add(1);
  if (key.family != 0) {
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    // A peer that vanished without a word is found within about two minutes.
    const int idle_s = 60;
    const int interval_s = 15;
    const int probes = 4;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
  }
  const uint64_t id = ++next_id_;
  const Place& place = places_[id % places_.size()];
  auto link = std::make_shared<Link>();
  link->core = core_;
  link->loop = place.loop;
  link->shard = place.shard;
  link->id = id;
  link->lease = std::move(answer.lease);
  link->address = key;
  link->channel = std::make_unique<Channel>(place.loop, std::move(fd));
  link->peer = FormatPeer(address);
  place.loop->Post([link] {
    if (link->shard->draining) return;
    const std::shared_ptr<Shard> shard = link->shard;
    const uint64_t shard_id = link->id;
    Enter(*shard, shard_id, std::make_shared<Opening>(std::move(*link)));
  });
}

}  // namespace inferd::net
