#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "comm/fabric.h"
#include "comm/frame_seal.h"
#include "inferd/base/clock.h"
#include "inferd/base/unique_fd.h"
#include "inferd/comm/communicator.h"

namespace inferd {

// A connection to another rank that has proved itself.
struct TcpPeer {
  UniqueFd socket;  // non-blocking
  HashKey send_key;
  HashKey receive_key;
};

// Ranks with a connection to each other. Every piece is one frame: the header with a tag,
// and the bytes. Both directions of all connections move at once, so no order of sends and
// receives can lock up; a frame that is not the expected one, or was changed on its way, ends the
// group.
class TcpFabric final : public Fabric {
 public:
  // peers[r] is rank r (that of `rank` itself is empty).
  TcpFabric(std::vector<TcpPeer> peers, int rank, size_t chunk_bytes, const Clock& clock);

  void SetDeadline(int64_t deadline_us) override { deadline_us_ = deadline_us; }
  Status Share(const CallHeader& header, std::span<const std::byte> mine,
               std::span<const size_t> sizes, std::span<const std::byte*> theirs) override;
  Status Deal(const CallHeader& header, std::span<const std::span<const std::byte>> parts,
              std::span<const std::byte*> theirs) override;
  Status Send(const CallHeader& header, std::span<const std::byte> data, int to) override;
  Status Recv(const CallHeader& header, std::span<std::byte> data, int from) override;
  void Break(StatusCode reason) override;

 private:
  struct Frame {
    CallHeader call;
    uint64_t bytes = 0;  // that follow
    SealTag tag{};       // over what is above, and what follows

    std::span<const std::byte> Sealed() const {
      return std::as_bytes(std::span(this, 1)).first(offsetof(Frame, tag));
    }
  };
  static_assert(sizeof(Frame) == 56);
  // What is to go to, and come from, one rank in the exchange under way.
  struct Peer {
    std::optional<FrameSeal> send_seal;
    std::optional<FrameSeal> receive_seal;
    bool sending = false;
    bool receiving = false;
    Frame out;
    Frame in;
    std::span<const std::byte> out_data;
    std::span<std::byte> in_data;
    size_t out_done = 0;  // bytes, of the frame and what follows
    size_t in_done = 0;
  };

  void PlanSend(const CallHeader& header, std::span<const std::byte> data, size_t to);
  void PlanReceive(std::span<std::byte> into, size_t from);
  // Does what is planned.
  Status Exchange(const CallHeader& header);
  Status Push(Peer& peer, int rank, bool& moved);
  Status Pull(const CallHeader& header, Peer& peer, int rank, bool& moved);
  // Waits for something to do; fails when a rank broke off or it is too late.
  Status AwaitSockets(int timeout_ms);
  std::span<std::byte> Scratch(size_t from, size_t bytes);

  std::vector<UniqueFd> sockets_;
  const size_t rank_;
  const size_t chunk_bytes_;
  const Clock& clock_;
  int64_t deadline_us_ = 0;
  std::array<Peer, kMaxRanks> peers_;
  std::array<bool, kMaxRanks> gone_{};  // hung up; only matters while something is expected
  std::vector<std::vector<std::byte>> scratch_;  // a piece from each rank
};

}  // namespace inferd
