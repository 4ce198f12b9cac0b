// Ranks that are processes of one host, over one segment of anonymous shared memory.
// It has no name, so nothing is left behind however the processes end.
#pragma once

#include <memory>

#include "inferd/base/unique_fd.h"
#include "inferd/comm/communicator.h"

namespace inferd {

// The segment of one group, once per group: whoever starts the ranks makes it and
// hands it to them (inherited or sent over a socket; it is close-on-exec). Its size is
// sealed. A broken group needs a new segment, so nothing of the old one is ever read.
StatusOr<UniqueFd> CreateSharedMemorySegment(int world_size, const CommOptions& options);

// Joins as `rank` and waits for the others. `options.chunk_bytes` must be that of the
// segment. ALREADY_EXISTS when the rank is or was taken, FAILED_PRECONDITION when the
// segment is of another shape. `segment_fd` stays the caller's. A rank whose process
// died is missed within milliseconds of being waited for. `clock` outlives the result.
StatusOr<std::unique_ptr<Communicator>> JoinSharedMemoryGroup(int segment_fd, int rank,
                                                              int world_size,
                                                              const CommOptions& options,
                                                              const Clock& clock);

}  // namespace inferd
