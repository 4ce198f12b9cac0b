// What the collectives cost: medians per call as rank 0 sees it, by collective, size and
// kind of group, beside floors measured in the same run.
//
//   comm_bench [world size, 2]
//
// "copy" is one memcpy of the size; "socket" is half a round trip of the size over a
// plain blocking loopback connection between two processes. The floor of an all-reduce is
// what the machine's cores would need at these rates if nothing were waited for or summed:
// in memory each rank writes its result once; over TCP each rank sends 2 (n - 1) / n of
// the message.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inferd/base/random.h"
#include "inferd/comm/all_reduce_chooser.h"
#include "inferd/comm/quantized_all_reduce.h"
#include "inferd/comm/shared_memory_group.h"
#include "inferd/comm/tcp_group.h"
#include "inferd/comm/thread_group.h"

namespace inferd {
namespace {

constexpr const char* kTcpName = "TCP loopback";
constexpr std::array<size_t, 7> kSizes = {64,      1 << 10, 8 << 10, 64 << 10,
                                          1 << 20, 4 << 20, 16 << 20};

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "comm_bench: %s\n", what.c_str());
  std::exit(1);
}

// All ranks must make the same number of calls, so it follows from the size alone.
int Repetitions(size_t bytes) {
  return static_cast<int>(std::clamp<size_t>((64 << 20) / bytes, 9, 1001));
}

// Median over the repetitions, in microseconds.
double Measure(size_t bytes, const std::function<void()>& call) {
  const SystemClock clock;
  const int repetitions = Repetitions(bytes);
  std::vector<int64_t> times;
  for (int i = 0; i < repetitions + 3; ++i) {
    const int64_t start = clock.NowNs();
    call();
    if (i >= 3) times.push_back(clock.NowNs() - start);
  }
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return static_cast<double>(times[static_cast<size_t>(repetitions) / 2]) / 1e3;
}

// Microseconds by size.
struct FloorTimes {
  std::array<double, kSizes.size()> copy{};
  std::array<double, kSizes.size()> socket{};
};

double AllReduceFloor(const FloorTimes& floors, size_t size, size_t world, bool over_tcp) {
  const double cores = std::max(1.0, static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)));
  const auto ranks = static_cast<double>(world);
  const double share = ranks / std::min(ranks, cores);  // ranks that take turns on a core
  return over_tcp ? 2 * (ranks - 1) / ranks * floors.socket[size] * share
                  : floors.copy[size] * share;
}

void RunRank(Communicator& comm, const std::string& kind, const FloorTimes& floors) {
  const auto world = static_cast<size_t>(comm.world_size());
  const auto must = [](const Status& status) {
    if (!status.ok()) Fail(status.ToString());
  };
  const double barrier = Measure(64, [&] { must(comm.Barrier()); });
  if (comm.rank() == 0) std::printf("| %s | barrier | 0 | %.1f | | |\n", kind.c_str(), barrier);
  const auto int8 = MakeQuantizedAllReduce(comm, QuantizedFormat::kInt8, 0);
  const auto fp8 = MakeQuantizedAllReduce(comm, QuantizedFormat::kFp8, 0);
  for (size_t size = 0; size < kSizes.size(); ++size) {
    const size_t bytes = kSizes[size];
    std::vector<std::byte> data(bytes);
    std::vector<std::byte> gathered(bytes * world);
    const TensorView view(data.data(), DType::kF32, {static_cast<int64_t>(bytes / 4)});
    const TensorView half(data.data(), DType::kBF16, {static_cast<int64_t>(bytes / 2)});
    const std::vector<std::pair<const char*, std::function<void()>>> calls = {
        {"all-reduce f32", [&] { must(comm.AllReduce(view)); }},
        {"all-reduce bf16", [&] { must(comm.AllReduce(half)); }},
        {"all-reduce f32 as int8", [&] { must(int8->AllReduce(view)); }},
        {"all-reduce f32 as fp8", [&] { must(fp8->AllReduce(view)); }},
        {"all-gather", [&] { must(comm.AllGather(data, gathered)); }},
        {"broadcast", [&] { must(comm.Broadcast(data, 0)); }}};
    for (const auto& [name, call] : calls) {
      must(comm.Barrier());
      const double us = Measure(bytes, call);
      if (comm.rank() == 0) {
        const std::string floor =
            name == calls[0].first
                ? std::to_string(AllReduceFloor(floors, size, world, kind == kTcpName))
                : "";
        std::printf("| %s | %s | %zu | %.1f | %.2f | %s |\n", kind.c_str(), name, bytes, us,
                    static_cast<double>(bytes) / us / 1e3, floor.c_str());
      }
    }
  }
  const SystemClock clock;
  AllReduceChooserOptions options;
  options.mode = AllReduceMode::kInt8;
  const auto chosen = MakeChosenAllReduce(comm, options, clock);
  if (!chosen.ok()) Fail(chosen.status().ToString());
  must((*chosen)->Choose());
  if (comm.rank() == 0) {
    std::printf("\n%s, `int8` allowed: %s\n\n", kind.c_str(), (*chosen)->Summary().c_str());
  }
  must(comm.Barrier());
  std::fflush(stdout);
}

// Calls `rank` in a process for each rank but 0, and in this one for rank 0.
void OnProcesses(int world, const std::function<void(int)>& rank) {
  std::fflush(stdout);
  std::vector<pid_t> children;
  for (int r = 1; r < world; ++r) {
    const pid_t pid = fork();
    if (pid < 0) Fail("fork failed");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      rank(r);
      _exit(0);
    }
    children.push_back(pid);
  }
  rank(0);
  for (const pid_t pid : children) waitpid(pid, nullptr, 0);
}

int ListenAnywhere(std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  if (bind(fd, reinterpret_cast<sockaddr*>(&name), length) != 0 || listen(fd, 32) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    Fail("cannot listen on loopback");
  }
  address = "127.0.0.1:" + std::to_string(ntohs(name.sin_port));
  return fd;
}

void MoveAll(int fd, std::vector<std::byte>& data, bool out) {
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = out ? send(fd, data.data() + done, data.size() - done, MSG_NOSIGNAL)
                          : recv(fd, data.data() + done, data.size() - done, 0);
    if (n <= 0) Fail("the loopback connection ended");
    done += static_cast<size_t>(n);
  }
}

FloorTimes MeasureFloors() {
  FloorTimes floors;
  std::string address;
  const int listener = ListenAnywhere(address);
  sockaddr_in name{};
  socklen_t length = sizeof(name);
  getsockname(listener, reinterpret_cast<sockaddr*>(&name), &length);
  OnProcesses(2, [&](int rank) {
    const int fd = rank == 0 ? accept(listener, nullptr, nullptr) : socket(AF_INET, SOCK_STREAM, 0);
    if (rank == 1 && connect(fd, reinterpret_cast<sockaddr*>(&name), length) != 0) {
      Fail("cannot connect");
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    for (size_t size = 0; size < kSizes.size(); ++size) {
      const size_t bytes = kSizes[size];
      std::vector<std::byte> data(bytes);
      std::vector<std::byte> other(bytes);
      const double us = Measure(bytes,
                                [&] {
                                  MoveAll(fd, data, rank == 0);
                                  MoveAll(fd, data, rank != 0);
                                }) /
                        2;
      if (rank != 0) continue;
      const double copy = Measure(bytes, [&] {
        std::memcpy(other.data(), data.data(), bytes);
        __asm__ volatile("" ::"r"(other.data()) : "memory");
      });
      floors.copy[size] = copy;
      floors.socket[size] = us;
      std::printf("| floor | copy | %zu | %.2f | %.2f | |\n", bytes, copy,
                  static_cast<double>(bytes) / copy / 1e3);
      std::printf("| floor | socket | %zu | %.1f | %.2f | |\n", bytes, us,
                  static_cast<double>(bytes) / us / 1e3);
    }
    std::fflush(stdout);
    close(fd);
  });
  close(listener);
  return floors;
}

int Main(int argc, char** argv) {
  const int world = argc > 1 ? std::atoi(argv[1]) : 2;
  if (world < 1 || world > kMaxRanks) Fail("the world size must be in 1..32");
  const SystemClock clock;
  CommOptions options;
  options.timeout_us = 60'000'000;
  std::printf(
      "| group of %d | call | bytes per rank | us | GB/s | floor, us "
      "|\n|---|---|---|---|---|---|\n",
      world);
  const FloorTimes floors = MeasureFloors();

  const auto segment = CreateSharedMemorySegment(world, options);
  if (!segment.ok()) Fail(segment.status().ToString());
  OnProcesses(world, [&](int rank) {
    auto comm = JoinSharedMemoryGroup(segment->get(), rank, world, options, clock);
    if (!comm.ok()) Fail(comm.status().ToString());
    RunRank(**comm, "shared memory", floors);
  });

  TcpGroupOptions tcp;
  tcp.comm = options;
  tcp.key = "a key for a benchmark";
  tcp.addresses.resize(static_cast<size_t>(world));
  std::vector<int> listeners;
  for (std::string& address : tcp.addresses) listeners.push_back(ListenAnywhere(address));
  OnProcesses(world, [&](int rank) {
    TcpGroupOptions mine = tcp;
    mine.rank = rank;
    mine.listen_fd = listeners[static_cast<size_t>(rank)];
    SystemEntropy entropy;
    auto comm = ConnectTcpGroup(mine, entropy, clock);
    if (!comm.ok()) Fail(comm.status().ToString());
    RunRank(**comm, kTcpName, floors);
  });
  for (const int fd : listeners) close(fd);

  auto group = MakeThreadGroup(world, options, clock);  // last: no fork with threads
  if (!group.ok()) Fail(group.status().ToString());
  std::vector<std::thread> threads;
  for (auto& comm : *group)
    threads.emplace_back([&comm, &floors] { RunRank(*comm, "threads", floors); });
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) { return inferd::Main(argc, argv); }
