#include "inferd/comm/tcp_group.h"

#include <array>
#include <utility>

#include "comm/fabric_communicator.h"
#include "comm/handshake.h"
#include "comm/rendezvous.h"
#include "comm/tcp_fabric.h"

namespace inferd {
namespace {

// Brings the connections of one rank about.
class GroupRendezvous {
 public:
  GroupRendezvous(const TcpGroupOptions& options, EntropySource& entropy, const Clock& clock,
                  int64_t deadline_us)
      : options_(options),
        entropy_(entropy),
        clock_(clock),
        deadline_us_(deadline_us),
        peers_(options.addresses.size()) {
    mine_.role = HelloRole::kGroupRank;
    mine_.epoch = options.epoch;
    mine_.rank = static_cast<uint32_t>(options.rank);
    mine_.world_size = static_cast<uint32_t>(options.addresses.size());
    mine_.size = static_cast<uint64_t>(options.comm.chunk_bytes);
  }

  StatusOr<std::vector<TcpPeer>> Run() {
    UniqueFd listener;
    int listen_fd = options_.listen_fd;
    const auto me = static_cast<size_t>(options_.rank);
    if (listen_fd < 0 && me + 1 < peers_.size()) {
      INFERD_ASSIGN_OR_RETURN(listener, ListenOn(options_.addresses[me]));
      listen_fd = listener.get();
    }
    for (size_t r = 0; r < me; ++r) INFERD_RETURN_IF_ERROR(ConnectTo(r));
    const Handshake::Judge judge = [this](const Hello& theirs) {
      return Judge(theirs, theirs.rank > mine_.rank && theirs.rank < mine_.world_size);
    };
    Receptionist receptionist(listen_fd, mine_, options_.key, judge, entropy_, clock_);
    while (const size_t missing = FirstMissing()) {
      if (clock_.NowUs() >= deadline_us_) {
        return TooLate(missing, receptionist.refusal());
      }
      INFERD_RETURN_IF_ERROR(LookAtOthers());
      const auto done = receptionist.Next();
      // Whoever comes again has lost the connection it had, though nothing may tell so here.
      if (done != nullptr) peers_[done->theirs().rank] = Take(*done);
    }
    return std::move(peers_);
  }

 private:
  static TcpPeer Take(Handshake& done) {
    return {done.TakeSocket(), done.SendKey(), done.ReceiveKey()};
  }

  // The first rank above this one without a connection, or 0.
  size_t FirstMissing() const {
    for (size_t r = mine_.rank + 1; r < peers_.size(); ++r) {
      if (peers_[r].socket.get() < 0) return r;
    }
    return 0;
  }

  // A connection that ended: who made it comes again; to whom it was made has given up.
  Status LookAtOthers() {
    for (size_t r = 0; r < peers_.size(); ++r) {
      if (peers_[r].socket.get() < 0 || !OtherEndGone(peers_[r].socket.get())) continue;
      if (r < mine_.rank) {
        return UnavailableError("rank " + std::to_string(r) + " left before all were there");
      }
      peers_[r] = TcpPeer{};
    }
    return OkStatus();
  }

  Status TooLate(size_t rank, const std::string& refusal) const {
    return Status(StatusCode::kDeadlineExceeded,
                  "rank " + std::to_string(rank) + " (" + options_.addresses[rank] +
                      ") did not come in time" + (refusal.empty() ? "" : "; " + refusal));
  }

  Status ConnectTo(size_t rank) {
    const Handshake::Judge judge = [this, rank](const Hello& theirs) {
      return Judge(theirs, theirs.rank == rank);
    };
    auto done = ConnectAndShake(options_.addresses[rank], mine_, options_.key, judge, entropy_,
                                clock_, deadline_us_);
    if (!done.ok()) return done.status().WithPrefix("rank " + std::to_string(rank));
    peers_[rank] = Take(**done);
    return OkStatus();
  }

  std::string Judge(const Hello& theirs, bool is_expected_rank) const {
    if (theirs.role != mine_.role) return "a connection was refused that is not of a group";
    if (theirs.epoch != mine_.epoch) {
      return "a rank of epoch " + std::to_string(theirs.epoch) + " was refused, this is " +
             std::to_string(mine_.epoch);
    }
    if (theirs.world_size != mine_.world_size || theirs.size != mine_.size) {
      return "a rank with another number of ranks or chunk size was refused";
    }
    if (!is_expected_rank) {
      return "a rank was refused that says it is " + std::to_string(theirs.rank);
    }
    return "";
  }

  const TcpGroupOptions& options_;
  EntropySource& entropy_;
  const Clock& clock_;
  const int64_t deadline_us_;
  Hello mine_;
  std::vector<TcpPeer> peers_;
};

// Nobody goes on before everybody has all connections: a rank that waits for one which the other
// end takes for good would wait until the deadline.
Status AwaitAll(Fabric& fabric, size_t world_size, int64_t deadline_us) {
  const std::array<size_t, kMaxRanks> sizes{};
  std::array<const std::byte*, kMaxRanks> theirs{};
  fabric.SetDeadline(deadline_us);
  return fabric.Share(CallHeader{}, {}, std::span(sizes).first(world_size),
                      std::span(theirs).first(world_size));
}

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
  INFERD_RETURN_IF_ERROR(CheckLinkKey(options.key));
  const int64_t deadline_us =
      clock.NowUs() +
      (options.join_timeout_us > 0 ? options.join_timeout_us : options.comm.timeout_us);
  INFERD_ASSIGN_OR_RETURN(std::vector<TcpPeer> peers,
                          GroupRendezvous(options, entropy, clock, deadline_us).Run());
  auto fabric = std::make_unique<TcpFabric>(std::move(peers), options.rank,
                                            static_cast<size_t>(options.comm.chunk_bytes), clock);
  INFERD_RETURN_IF_ERROR(AwaitAll(*fabric, options.addresses.size(), deadline_us));
  return std::unique_ptr<Communicator>(std::make_unique<FabricCommunicator>(
      std::move(fabric), options.rank, world_size, options.comm, clock));
}

}  // namespace inferd
