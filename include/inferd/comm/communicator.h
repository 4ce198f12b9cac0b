// What the ranks of a group say to each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

inline constexpr int kMaxRanks = 32;

struct CommOptions {
  // How long one call may wait for the others, and how long a group may take to
  // come together.
  int64_t timeout_us = 5'000'000;
  // Larger messages are cut into pieces of this many bytes; a multiple of 4096, at
  // most 16 MiB, the same on all ranks. It bounds the memory of a group.
  int64_t chunk_bytes = 256 << 10;
};

// One rank's end of a group. One thread calls it; Abort() may be called by any. The
// object must be destroyed by a thread that knows that no call is under way.
//
// All ranks make the same collective calls with the same sizes in the same order.
// A rank that does not is found out: each call carries its number, kind and size,
// and ranks that differ get FAILED_PRECONDITION, or lose each other (UNAVAILABLE),
// or run into the time-out, but never get a result.
//
// Errors. UNAVAILABLE names a rank that died, left, or gave up before this one did;
// DEADLINE_EXCEEDED names the ranks that were waited for; ABORTED follows Abort().
// After any of these or FAILED_PRECONDITION the contents of the buffers are
// undefined, and the communicator is broken for good: every later call returns the
// same status at once, the other ranks learn of it, and the group must be made anew.
// INVALID_ARGUMENT (a type or size that this rank can see to be wrong) is returned
// before anything was said, and breaks nothing.
//
// Determinism. Sums have one order: ((x0 + x1) + x2) + ... by rank, in F32; BF16 is
// widened before and rounded once, to nearest even, after. So every rank gets the same
// bits, in every run, whatever the chunking, and thread, shared-memory and TCP groups
// give the same bits too (of a NaN only that it is one). The all-reduces that are
// made out of several communicators (hierarchical, quantised) have orders of their
// own, given with them, and keep the rest of the promise.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // x := the sum of all ranks' x, element by element. F32 or BF16.
  virtual Status AllReduce(const TensorView& x) = 0;
  // out := this rank's part of the sum of all ranks' in. `in` has world_size() times
  // as many elements as `out`; part r goes to rank r. F32 or BF16; they do not overlap.
  virtual Status ReduceScatter(const TensorView& in, const TensorView& out) = 0;
  // out := the `in` of rank 0, of rank 1, ...; all of the same size. `in` may be the
  // place in `out` where it belongs.
  virtual Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // Part r of `in` goes to rank r; part r of `out` comes from rank r. Both have
  // world_size() parts of the same size, and do not overlap.
  virtual Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // data := the data of rank `root`.
  virtual Status Broadcast(std::span<std::byte> data, int root) = 0;
  // Returns when every rank has called it.
  virtual Status Barrier() = 0;

  // One message to another rank, which must call Recv with the same size. Messages of
  // one pair arrive in order. Send may return before Recv was called. Both ranks must
  // agree on which collectives come before and after it; if they do not, the time-out
  // may be what ends it.
  virtual Status Send(std::span<const std::byte> data, int to) = 0;
  virtual Status Recv(std::span<std::byte> data, int from) = 0;

  // Breaks the group: the call under way, here and on the other ranks, and all later
  // ones fail. Any thread.
  virtual void Abort() = 0;
};

}  // namespace inferd
