// How pieces of messages get from rank to rank; what is done with them is the same for
// all fabrics (fabric_communicator.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/base/status.h"

namespace inferd {

enum class CallKind : uint32_t {
  kAllReduce = 1,
  kReduceScatter,
  kAllGather,
  kAllToAll,
  kBroadcast,
  kBarrier,
  kMessage,
};

// What ranks must agree on before they exchange a piece. Plain data; compared whole.
struct CallHeader {
  uint64_t sequence = 0;     // number of the call: of the group, or of the pair for a message
  uint64_t total_bytes = 0;  // of the whole call, on one rank
  uint64_t offset = 0;       // progress within it, in bytes
  CallKind kind = CallKind::kBarrier;
  uint32_t detail = 0;  // DType of a reduction, root of a broadcast

  friend bool operator==(const CallHeader&, const CallHeader&) = default;
};
static_assert(sizeof(CallHeader) == 32);

// FAILED_PRECONDITION that shows what `peer` and we were about to do.
Status HeaderMismatch(const CallHeader& ours, const CallHeader& theirs, int peer);

// One rank's end. One thread, except for Break(). After an error of any call only
// Break() and the destructor may follow. No piece is larger than the group's chunk.
class Fabric {
 public:
  virtual ~Fabric() = default;

  // Calls from here on give up at `deadline_us` (of the clock).
  virtual void SetDeadline(int64_t deadline_us) = 0;

  // Every rank gets every rank's `mine`: theirs[r] points to sizes[r] bytes, valid until
  // the next call. sizes is the same on all ranks. theirs[rank] may be `mine` itself.
  virtual Status Share(const CallHeader& header, std::span<const std::byte> mine,
                       std::span<const size_t> sizes, std::span<const std::byte*> theirs) = 0;
  // parts[r] goes to rank r and has the same size on all ranks (their sum is a piece):
  // theirs[r] points to the parts[rank].size() bytes that rank r had for us.
  virtual Status Deal(const CallHeader& header, std::span<const std::span<const std::byte>> parts,
                      std::span<const std::byte*> theirs) = 0;

  virtual Status Send(const CallHeader& header, std::span<const std::byte> data, int to) = 0;
  virtual Status Recv(const CallHeader& header, std::span<std::byte> data, int from) = 0;

  // Lets the other ranks know that nothing more will come, because of `reason`, and
  // ends a call under way with an error. Any thread.
  virtual void Break(StatusCode reason) = 0;
};

}  // namespace inferd
