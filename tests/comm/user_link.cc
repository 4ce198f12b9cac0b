// A cable between two network namespaces that is as bad as it is asked to be: frames are
// late, overtake each other, come slowly, or not at all. For tests on kernels that have no
// such links of their own. Needs root and /dev/net/tun.
//
//   user_link NAMESPACE NAMESPACE DELAY_US JITTER_US LOSS RATE SEED
//
// Makes the interface "cable" in both, says "up" on its output, and passes frames on until
// it is killed. Every frame is late by DELAY_US and up to JITTER_US more, each for itself;
// of a million LOSS are lost; RATE bytes a second go one way, 0: any number. The same SEED
// gives the same fates to frames in the order in which they come.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t kFrameBytes = 2048;
// A cable that holds more than this loses the rest, as cables do.
constexpr size_t kFrames = 4096;

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Frame {
  int64_t due_us = 0;
  uint64_t number = 0;  // those due at once go in order
  std::vector<char> bytes;
  bool operator<(const Frame& other) const {
    return due_us != other.due_us ? due_us > other.due_us : number > other.number;
  }
};

// An end of the cable in a namespace, or -1.
int Plug(const std::string& name) {
  const int space = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET) != 0) return -1;
  close(space);
  const int end = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (end < 0) return -1;
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::strncpy(request.ifr_name, "cable", IFNAMSIZ - 1);
  return ioctl(end, TUNSETIFF, &request) == 0 ? end : -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::array<int, 2> ends = {Plug(argv[1]), Plug(argv[2])};
  if (ends[0] < 0 || ends[1] < 0) return 3;
  const int64_t delay_us = std::atoll(argv[3]);
  const int64_t jitter_us = std::atoll(argv[4]);
  const int64_t loss = std::atoll(argv[5]);
  const int64_t rate = std::atoll(argv[6]);
  std::mt19937_64 random(static_cast<uint64_t>(std::atoll(argv[7])));
  std::cout << "up" << std::endl;

  std::array<std::priority_queue<Frame>, 2> under_way;  // by the end they go to
  std::array<int64_t, 2> free_us{};                     // when the cable has passed the last on
  uint64_t number = 0;
  std::array<char, kFrameBytes> buffer{};
  for (;;) {
    int64_t due_us = NowUs() + 1'000'000;
    for (const auto& queue : under_way) {
      if (!queue.empty()) due_us = std::min(due_us, queue.top().due_us);
    }
    const int64_t left_us = std::max<int64_t>(due_us - NowUs(), 0);
    std::array<pollfd, 2> fds = {{{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}}};
    const timespec wait{left_us / 1'000'000, left_us % 1'000'000 * 1000};
    (void)ppoll(fds.data(), fds.size(), &wait, nullptr);
    for (size_t from = 0; from < 2; ++from) {
      const size_t to = 1 - from;
      ssize_t bytes = 0;
      while ((bytes = read(ends[from], buffer.data(), buffer.size())) > 0) {
        const bool lost = static_cast<int64_t>(random() % 1'000'000) < loss;
        const auto jitter = static_cast<int64_t>(random() % static_cast<uint64_t>(jitter_us + 1));
        if (lost || under_way[to].size() == kFrames) continue;
        free_us[to] = std::max(free_us[to], NowUs());
        if (rate > 0) free_us[to] += bytes * 1'000'000 / rate;
        under_way[to].push(
            {free_us[to] + delay_us + jitter, number++, {buffer.data(), buffer.data() + bytes}});
      }
    }
    for (size_t to = 0; to < 2; ++to) {
      while (!under_way[to].empty() && under_way[to].top().due_us <= NowUs()) {
        const std::vector<char>& bytes = under_way[to].top().bytes;
        (void)!write(ends[to], bytes.data(), bytes.size());  // an end that is down loses it
        under_way[to].pop();
      }
    }
  }
}
