// One rank of a group of processes, for processes_test: reduces again and again, checks
// the sums, and may kill itself on the way.
//
//   comm_peer SEGMENT_FD RANK WORLD CALLS ELEMENTS TIMEOUT_US DIE
//
// DIE: never, before-joining, after-joining, or the number of the call before which it
// is killed. Exits with the code of the status that ended it, 0 when all went well, 100
// on a wrong sum.
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/comm/shared_memory_group.h"

int main(int argc, char** argv) {
  using namespace inferd;  // NOLINT(google-build-using-namespace): a test's main
  if (argc != 8) return 101;
  const int rank = std::atoi(argv[2]);
  const int world = std::atoi(argv[3]);
  const int64_t calls = std::atoll(argv[4]);
  const int64_t elements = std::atoll(argv[5]);
  CommOptions options;
  options.timeout_us = std::atoll(argv[6]);
  const std::string die = argv[7];
  if (die == "before-joining") std::raise(SIGKILL);
  const SystemClock clock;
  auto comm = JoinSharedMemoryGroup(std::atoi(argv[1]), rank, world, options, clock);
  if (!comm.ok()) {
    std::cerr << "rank " << rank << ": " << comm.status().ToString() << "\n";
    return static_cast<int>(comm.status().code());
  }
  if (die == "after-joining") std::raise(SIGKILL);
  std::vector<float> x(static_cast<size_t>(elements));
  for (int64_t call = 0; call < calls; ++call) {
    if (die == std::to_string(call)) std::raise(SIGKILL);
    for (float& value : x) value = static_cast<float>(rank + 1);
    const Status status = (*comm)->AllReduce(TensorView(x.data(), DType::kF32, {elements}));
    if (!status.ok()) {
      std::cerr << "rank " << rank << ": " << status.ToString() << "\n";
      return static_cast<int>(status.code());
    }
    for (const float value : x) {
      if (value != static_cast<float>(world * (world + 1) / 2)) return 100;
    }
  }
  return 0;
}
