// One rank of a TCP group, for network_test: reduces again and again and checks the sums.
// Says "going" on its output once the third sum was right.
//
//   net_peer RANK CALLS ELEMENTS TIMEOUT_US KEY EPOCH ADDRESS...
//
// Exits with the code of the status that ended it, 0 when all went well, 100 on a wrong
// sum.
#include <cstdlib>
#include <iostream>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/comm/tcp_group.h"

int main(int argc, char** argv) {
  using namespace inferd;  // NOLINT(google-build-using-namespace): a test's main
  if (argc < 8) return 101;
  TcpGroupOptions options;
  options.rank = std::atoi(argv[1]);
  const int64_t calls = std::atoll(argv[2]);
  const int64_t elements = std::atoll(argv[3]);
  options.comm.timeout_us = std::atoll(argv[4]);
  options.key = argv[5];
  options.epoch = static_cast<uint64_t>(std::atoll(argv[6]));
  options.addresses.assign(argv + 7, argv + argc);
  const SystemClock clock;
  SystemEntropy entropy;
  auto comm = ConnectTcpGroup(options, entropy, clock);
  if (!comm.ok()) {
    std::cerr << "rank " << options.rank << ": " << comm.status().ToString() << "\n";
    return static_cast<int>(comm.status().code());
  }
  const int world = (*comm)->world_size();
  std::vector<float> x(static_cast<size_t>(elements));
  for (int64_t call = 0; call < calls; ++call) {
    for (float& value : x) value = static_cast<float>(options.rank + 1);
    const Status status = (*comm)->AllReduce(TensorView(x.data(), DType::kF32, {elements}));
    if (!status.ok()) {
      std::cerr << "rank " << options.rank << ": " << status.ToString() << "\n";
      return static_cast<int>(status.code());
    }
    for (const float value : x) {
      if (value != static_cast<float>(world * (world + 1) / 2)) return 100;
    }
    if (call == 2) std::cout << "going" << std::endl;
  }
  return 0;
}
