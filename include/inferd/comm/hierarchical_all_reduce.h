#pragma once

#include <memory>

#include "inferd/comm/communicator.h"

namespace inferd {

// A communicator whose AllReduce sums within each host, then between the hosts' leaders
// (local rank 0), and hands the result back. Everything else goes to `all`, the group of
// all ranks. `leaders` is null except on local rank 0. All outlive it and are used by the
// same thread. The order of the sum: each host's in the order of local ranks, rounded to
// the type, then the hosts' in the order of `leaders`. An error of one communicator
// aborts the others.
std::unique_ptr<Communicator> MakeHierarchicalAllReduce(Communicator& all, Communicator& local,
                                                        Communicator* leaders);

}  // namespace inferd
