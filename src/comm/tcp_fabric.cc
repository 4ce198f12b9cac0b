#include "comm/tcp_fabric.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace inferd {
namespace {

// The clock is looked at this often at least; it may be one that is moved by hand.
constexpr int kPollMs = 10;

std::string RankName(size_t rank) { return "rank " + std::to_string(rank); }

Status Lost(int rank) {
  return UnavailableError("the connection to " + RankName(static_cast<size_t>(rank)) +
                          " was closed");
}

}  // namespace

TcpFabric::TcpFabric(std::vector<TcpPeer> peers, int rank, size_t chunk_bytes, const Clock& clock)
    : rank_(static_cast<size_t>(rank)),
      chunk_bytes_(chunk_bytes),
      clock_(clock),
      scratch_(peers.size()) {
  sockets_.reserve(peers.size());
  for (size_t r = 0; r < peers.size(); ++r) {
    if (r != rank_) {
      peers_[r].send_seal.emplace(peers[r].send_key);
      peers_[r].receive_seal.emplace(peers[r].receive_key);
    }
    sockets_.push_back(std::move(peers[r].socket));
  }
}

std::span<std::byte> TcpFabric::Scratch(size_t from, size_t bytes) {
  INFERD_CHECK(bytes <= chunk_bytes_);
  std::vector<std::byte>& piece = scratch_[from];
  if (piece.size() < bytes) piece.resize(bytes);
  return std::span(piece).first(bytes);
}

void TcpFabric::PlanSend(const CallHeader& header, std::span<const std::byte> data, size_t to) {
  Peer& peer = peers_[to];
  peer.sending = true;
  peer.out = {header, data.size(), {}};
  peer.out.tag = peer.send_seal->Next(peer.out.Sealed(), data);
  peer.out_data = data;
  peer.out_done = 0;
}

void TcpFabric::PlanReceive(std::span<std::byte> into, size_t from) {
  Peer& peer = peers_[from];
  peer.receiving = true;
  peer.in_data = into;
  peer.in_done = 0;
}

Status TcpFabric::Share(const CallHeader& header, std::span<const std::byte> mine,
                        std::span<const size_t> sizes, std::span<const std::byte*> theirs) {
  for (size_t r = 0; r < sockets_.size(); ++r) {
    if (r == rank_) {
      theirs[r] = mine.data();
      continue;
    }
    const std::span<std::byte> into = Scratch(r, sizes[r]);
    theirs[r] = into.data();
    PlanSend(header, mine, r);
    PlanReceive(into, r);
  }
  return Exchange(header);
}

Status TcpFabric::Deal(const CallHeader& header, std::span<const std::span<const std::byte>> parts,
                       std::span<const std::byte*> theirs) {
  for (size_t r = 0; r < sockets_.size(); ++r) {
    if (r == rank_) {
      theirs[r] = parts[r].data();
      continue;
    }
    const std::span<std::byte> into = Scratch(r, parts[rank_].size());
    theirs[r] = into.data();
    PlanSend(header, parts[r], r);
    PlanReceive(into, r);
  }
  return Exchange(header);
}

Status TcpFabric::Send(const CallHeader& header, std::span<const std::byte> data, int to) {
  PlanSend(header, data, static_cast<size_t>(to));
  return Exchange(header);
}

Status TcpFabric::Recv(const CallHeader& header, std::span<std::byte> data, int from) {
  PlanReceive(data, static_cast<size_t>(from));
  return Exchange(header);
}

Status TcpFabric::Push(Peer& peer, int rank, bool& moved) {
  while (peer.sending) {
    std::array<iovec, 2> parts{};
    const size_t head = std::min(peer.out_done, sizeof(Frame));
    const size_t body = peer.out_done - head;
    parts[0] = {reinterpret_cast<std::byte*>(&peer.out) + head, sizeof(Frame) - head};
    // sendmsg does not write to what it sends.
    parts[1] = {const_cast<std::byte*>(peer.out_data.data()) + body, peer.out_data.size() - body};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = peer.out_data.empty() ? 1 : 2;
    const ssize_t n =
        sendmsg(sockets_[static_cast<size_t>(rank)].get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return OkStatus();
      return Lost(rank);
    }
    moved = true;
    peer.out_done += static_cast<size_t>(n);
    peer.sending = peer.out_done < sizeof(Frame) + peer.out_data.size();
  }
  return OkStatus();
}

Status TcpFabric::Pull(const CallHeader& header, Peer& peer, int rank, bool& moved) {
  while (peer.receiving) {
    const bool in_head = peer.in_done < sizeof(Frame);
    std::byte* const to = in_head ? reinterpret_cast<std::byte*>(&peer.in) + peer.in_done
                                  : peer.in_data.data() + (peer.in_done - sizeof(Frame));
    const size_t wanted =
        (in_head ? sizeof(Frame) : sizeof(Frame) + peer.in_data.size()) - peer.in_done;
    const ssize_t n = recv(sockets_[static_cast<size_t>(rank)].get(), to, wanted, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return OkStatus();
    if (n <= 0) return Lost(rank);
    moved = true;
    peer.in_done += static_cast<size_t>(n);
    if (in_head && peer.in_done == sizeof(Frame)) {
      if (peer.in.call != header || peer.in.bytes != peer.in_data.size()) {
        return HeaderMismatch(header, peer.in.call, rank);
      }
    }
    peer.receiving = peer.in_done < sizeof(Frame) + peer.in_data.size();
    if (!peer.receiving && !peer.receive_seal->Fits(peer.in.Sealed(), peer.in_data, peer.in.tag)) {
      return Status(StatusCode::kDataLoss,
                    "what " + RankName(static_cast<size_t>(rank)) + " said was changed on its way");
    }
  }
  return OkStatus();
}

Status TcpFabric::Exchange(const CallHeader& header) {
  // What came before a break must not be taken for a result.
  INFERD_RETURN_IF_ERROR(AwaitSockets(/*timeout_ms=*/0));
  for (;;) {
    bool moved = false;
    bool busy = false;
    for (size_t r = 0; r < sockets_.size(); ++r) {
      Peer& peer = peers_[r];
      INFERD_RETURN_IF_ERROR(Push(peer, static_cast<int>(r), moved));
      INFERD_RETURN_IF_ERROR(Pull(header, peer, static_cast<int>(r), moved));
      busy = busy || peer.sending || peer.receiving;
    }
    if (!busy) return OkStatus();
    if (!moved) INFERD_RETURN_IF_ERROR(AwaitSockets(kPollMs));
  }
}

Status TcpFabric::AwaitSockets(int timeout_ms) {
  if (clock_.NowUs() >= deadline_us_) {
    std::string missing;
    for (size_t r = 0; r < sockets_.size(); ++r) {
      if (peers_[r].sending || peers_[r].receiving) {
        missing += (missing.empty() ? "" : ", ") + RankName(r);
      }
    }
    return Status(StatusCode::kDeadlineExceeded, missing + " did not come in time");
  }
  std::array<pollfd, kMaxRanks> polled;
  for (size_t r = 0; r < sockets_.size(); ++r) {
    const Peer& peer = peers_[r];
    const int events = (peer.sending ? POLLOUT : 0) | (peer.receiving ? POLLIN : 0);
    // A negative descriptor is not looked at. One that is done may leave, but a rank that
    // breaks off is heard by all.
    const bool watched = events != 0 || !gone_[r];
    polled[r] = {watched ? sockets_[r].get() : -1, static_cast<short>(events | POLLPRI), 0};
  }
  poll(polled.data(), sockets_.size(), timeout_ms);
  for (size_t r = 0; r < sockets_.size(); ++r) {
    if ((polled[r].revents & POLLPRI) != 0) return UnavailableError(RankName(r) + " broke off");
    if ((polled[r].revents & (POLLHUP | POLLERR)) != 0) gone_[r] = true;
  }
  return OkStatus();
}

// Any thread: the sockets stay open until the end, they are only shut. An urgent byte
// tells a break from an orderly end, past whatever is still in the stream.
void TcpFabric::Break(StatusCode) {
  for (const UniqueFd& socket : sockets_) {
    if (socket.get() < 0) continue;
    (void)send(socket.get(), "!", 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(socket.get(), SHUT_RDWR);
  }
}

}  // namespace inferd
