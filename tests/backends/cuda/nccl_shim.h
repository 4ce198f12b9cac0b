// A libnccl.so.2 of the tests' own: the functions that the backend uses, for ranks that are
// threads or processes of this machine, over shared memory, on streams of the fake runtime.
//
// It is as unhelpful as the real one may be: every call is "in progress" for a while, and
// nothing is on the stream before it was asked for its state; a message is sent when it was
// received; collectives take memory of the fake device only; what ranks disagree about is
// never done. It sums in the order of ranks, as the other groups do.
//
// The environment's NCCL_SHIM makes it fail: words with commas between them.
//   rank=R            what follows concerns rank R only, of groups of more than one
//   once=FILE         and only where FILE, which it makes, is not there
//   version=V         it is of version V
//   id=fails          no unique id
//   init=fails        ncclCommInitRankConfig answers an error
//   init=breaks       the group is in progress, and then an error
//   init=hangs        the rank never arrives
//   register=fails    memory cannot be registered
//   call=hangs        collectives are in progress for ever
//   error=N           from the N-th collective on the group has lost another rank
//   hang=N            the N-th collective never ends
//   abort=hangs       ncclCommAbort does not return
#pragma once

#include <cstdint>

namespace inferd::testing {

// Of this process. The library's "inferd_nccl_shim_counts" answers them.
struct NcclShimCounts {
  int64_t calls = 0;        // of collectives, by the host
  int64_t collectives = 0;  // that were done
  int64_t comms = 0;        // there now
  int64_t aborts = 0;
  int64_t windows = 0;     // there now
  int64_t registered = 0;  // there now
  int64_t memory = 0;      // allocations there now
};
using NcclShimCountsFunction = void (*)(NcclShimCounts*);

}  // namespace inferd::testing
