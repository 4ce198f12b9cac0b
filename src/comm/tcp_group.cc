#include "inferd/comm/tcp_group.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "comm/fabric_communicator.h"
#include "comm/tcp_fabric.h"

namespace inferd {
namespace {

constexpr uint64_t kHelloMagic = 0x3130'7063'7463'6669;  // "ifctcp01"
constexpr int64_t kRetryUs = 20'000;
// A stranger who connects and says nothing keeps the others waiting for no longer.
constexpr int64_t kHelloUs = 500'000;
constexpr int kPollMs = 10;

// The first thing either side says. Plain data of little-endian machines.
struct Hello {
  uint64_t magic = kHelloMagic;
  uint64_t epoch = 0;
  uint64_t nonce_low = 0;
  uint64_t nonce_high = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  uint64_t chunk_bytes = 0;
};
static_assert(sizeof(Hello) == 48);

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

StatusOr<Addresses> Resolve(const std::string& address, bool passive) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgumentError("no port in " + address);
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &list);
  if (error != 0) return UnavailableError(address + ": " + gai_strerror(error));
  return Addresses(list);
}

StatusOr<Socket> Listen(const std::string& address) {
  INFERD_ASSIGN_OR_RETURN(const Addresses list, Resolve(address, /*passive=*/true));
  Socket socket(::socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket.fd(), list->ai_addr, list->ai_addrlen) != 0 ||
      listen(socket.fd(), kMaxRanks) != 0) {
    return UnavailableError("cannot listen on " + address + ": " + std::strerror(errno));
  }
  return socket;
}

// Brings the connections of one rank about.
class Rendezvous {
 public:
  Rendezvous(const TcpGroupOptions& options, EntropySource& entropy, const Clock& clock)
      : options_(options),
        entropy_(entropy),
        clock_(clock),
        deadline_us_(clock.NowUs() + options.comm.timeout_us),
        sockets_(options.addresses.size()) {}

  StatusOr<std::vector<Socket>> Run() {
    Socket listener;
    int listen_fd = options_.listen_fd;
    const auto me = static_cast<size_t>(options_.rank);
    if (listen_fd < 0 && me + 1 < sockets_.size()) {
      INFERD_ASSIGN_OR_RETURN(listener, Listen(options_.addresses[me]));
      listen_fd = listener.fd();
    }
    for (size_t r = 0; r < me; ++r) INFERD_RETURN_IF_ERROR(ConnectTo(r));
    while (size_t missing = FirstMissing()) {
      if (clock_.NowUs() >= deadline_us_) return TooLate(missing);
      pollfd waiting{listen_fd, POLLIN, 0};
      if (poll(&waiting, 1, kPollMs) > 0) AcceptOne(listen_fd);
    }
    return std::move(sockets_);
  }

 private:
  // The first rank above this one without a connection, or 0.
  size_t FirstMissing() const {
    for (size_t r = static_cast<size_t>(options_.rank) + 1; r < sockets_.size(); ++r) {
      if (sockets_[r].fd() < 0) return r;
    }
    return 0;
  }

  Status TooLate(size_t rank) const {
    return Status(StatusCode::kDeadlineExceeded,
                  "rank " + std::to_string(rank) + " (" + options_.addresses[rank] +
                      ") did not come in time" + (refusal_.empty() ? "" : "; " + refusal_));
  }

  Status ConnectTo(size_t rank) {
    while (clock_.NowUs() < deadline_us_) {
      auto list = Resolve(options_.addresses[rank], /*passive=*/false);
      if (!list.ok() && list.status().code() == StatusCode::kInvalidArgument) {
        return list.status();
      }
      if (list.ok()) {
        const addrinfo& address = **list;
        Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (connect(socket.fd(), address.ai_addr, address.ai_addrlen) == 0 ||
            errno == EINPROGRESS) {
          if (Shake(socket, static_cast<int>(rank)) == static_cast<int>(rank)) {
            sockets_[rank] = std::move(socket);
            return OkStatus();
          }
        }
      }
      poll(nullptr, 0, static_cast<int>(kRetryUs / 1000));
    }
    return TooLate(rank);
  }

  void AcceptOne(int listen_fd) {
    Socket socket(accept4(listen_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.fd() < 0) return;
    const int rank = Shake(socket, -1);
    if (rank < 0) return;
    // The first one stays: a second of the same rank is a mistake, or an old one.
    if (sockets_[static_cast<size_t>(rank)].fd() < 0) {
      sockets_[static_cast<size_t>(rank)] = std::move(socket);
    }
  }

  // Both sides say hello, then prove that they have the key by a tag over both hellos.
  // The rank at the other end, or -1 with the reason in refusal_. `expected`: the rank
  // that we connected to, or -1 for any above ours.
  int Shake(const Socket& socket, int expected) {
    const int on = 1;
    setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    // Who connects is patient: if it gave up when the other side has just accepted it,
    // the connection would be taken for the good one.
    const int64_t deadline_us =
        expected >= 0 ? deadline_us_ : std::min(deadline_us_, clock_.NowUs() + kHelloUs);
    Hello mine;
    mine.epoch = options_.epoch;
    mine.nonce_low = entropy_.Next64();
    mine.nonce_high = entropy_.Next64();
    mine.rank = static_cast<uint32_t>(options_.rank);
    mine.world_size = static_cast<uint32_t>(options_.addresses.size());
    mine.chunk_bytes = static_cast<uint64_t>(options_.comm.chunk_bytes);
    Hello theirs;
    if (!Move(socket, std::as_writable_bytes(std::span(&mine, 1)), deadline_us, /*out=*/true) ||
        !Move(socket, std::as_writable_bytes(std::span(&theirs, 1)), deadline_us, false)) {
      return Ended("a connection ended before its hello");
    }
    Hash128 my_tag = Tag(mine, theirs);
    Hash128 their_tag;
    if (!Move(socket, std::as_writable_bytes(std::span(&my_tag, 1)), deadline_us, true) ||
        !Move(socket, std::as_writable_bytes(std::span(&their_tag, 1)), deadline_us, false)) {
      return Ended("a connection ended before its proof of the key");
    }
    const Hash128 wanted = Tag(theirs, mine);
    if (((wanted.lo ^ their_tag.lo) | (wanted.hi ^ their_tag.hi)) != 0) {
      return Refuse("a connection was refused: wrong key");
    }
    if (theirs.magic != mine.magic) return Refuse("a rank speaks another version");
    if (theirs.epoch != mine.epoch) {
      return Refuse("a rank of epoch " + std::to_string(theirs.epoch) + " was refused, this is " +
                    std::to_string(mine.epoch));
    }
    if (theirs.world_size != mine.world_size || theirs.chunk_bytes != mine.chunk_bytes) {
      return Refuse("a rank with another number of ranks or chunk size was refused");
    }
    const bool fits = expected >= 0 ? theirs.rank == static_cast<uint32_t>(expected)
                                    : theirs.rank > mine.rank && theirs.rank < mine.world_size;
    if (!fits) return Refuse("a rank was refused that says it is " + std::to_string(theirs.rank));
    return static_cast<int>(theirs.rank);
  }

  // Says less than a refusal, which it must not replace: who is refused tries again.
  int Ended(std::string why) {
    if (refusal_.empty()) refusal_ = std::move(why);
    return -1;
  }

  int Refuse(std::string why) {
    refusal_ = std::move(why);
    return -1;
  }

  // Over the sender's hello first, so that a tag sent back does not fit.
  Hash128 Tag(const Hello& sender, const Hello& receiver) const {
    std::array<std::byte, 2 * sizeof(Hello)> both;
    std::memcpy(both.data(), &sender, sizeof(Hello));
    std::memcpy(both.data() + sizeof(Hello), &receiver, sizeof(Hello));
    return SipHash128(options_.key, both);
  }

  // Sends or receives all of `bytes`.
  bool Move(const Socket& socket, std::span<std::byte> bytes, int64_t deadline_us, bool out) {
    while (!bytes.empty()) {
      if (clock_.NowUs() >= deadline_us) return false;
      pollfd waiting{socket.fd(), static_cast<short>(out ? POLLOUT : POLLIN), 0};
      if (poll(&waiting, 1, kPollMs) <= 0) continue;
      const ssize_t n = out ? send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL)
                            : recv(socket.fd(), bytes.data(), bytes.size(), 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n <= 0) return false;
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return true;
  }

  const TcpGroupOptions& options_;
  EntropySource& entropy_;
  const Clock& clock_;
  const int64_t deadline_us_;
  std::vector<Socket> sockets_;
  std::string refusal_;
};

}  // namespace

StatusOr<std::unique_ptr<Communicator>> ConnectTcpGroup(const TcpGroupOptions& options,
                                                        EntropySource& entropy,
                                                        const Clock& clock) {
  // Before it becomes an int: a list of any length may be configured.
  if (options.addresses.size() > static_cast<size_t>(kMaxRanks)) {
    return InvalidArgumentError("the number of ranks must be in 1.." + std::to_string(kMaxRanks));
  }
  const int world_size = static_cast<int>(options.addresses.size());
  INFERD_RETURN_IF_ERROR(CheckGroup(options.rank, world_size, options.comm));
  INFERD_ASSIGN_OR_RETURN(std::vector<Socket> sockets, Rendezvous(options, entropy, clock).Run());
  auto fabric = std::make_unique<TcpFabric>(std::move(sockets), options.rank,
                                            static_cast<size_t>(options.comm.chunk_bytes), clock);
  return std::unique_ptr<Communicator>(std::make_unique<FabricCommunicator>(
      std::move(fabric), options.rank, world_size, options.comm, clock));
}

}  // namespace inferd
