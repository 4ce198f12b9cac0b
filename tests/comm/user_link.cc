// A cable between two network namespaces that is as bad as it is asked to be: frames are
// late, overtake each other, come slowly, changed, or not at all. For tests on kernels that have no
// such links of their own. Needs root and /dev/net/tun.
//
//   user_link NAMESPACE NAMESPACE INTERFACE SEED FAULTS
//
// Makes the interface in both (the first namespace may be "-": this one), says "up" on its
// output, and passes frames on until it is killed. FAULTS are up to six numbers, "0 0 0 0 0 0"
// for none; a line of them on its input replaces them. Every frame is late by the first, in
// microseconds, and up to the second more, each for itself; of a million the third are lost;
// the fourth is the number of bytes that go one way in a second, 0: any. Of a million
// segments of TCP with data the fifth have bytes swapped, so that TCP does not notice, and
// the sixth become a reset of their connection. The same SEED gives the same fates to frames
// in the order in which they come.
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
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr size_t kFrameBytes = 2048;
// A cable that holds more than this loses the rest, as cables do.
constexpr size_t kFrames = 4096;

struct Faults {
  int64_t delay_us = 0;
  int64_t jitter_us = 0;
  int64_t loss = 0;
  int64_t rate = 0;
  int64_t swaps = 0;
  int64_t resets = 0;
};

Faults ParseFaults(const std::string& text) {
  Faults f;
  std::istringstream in(text);
  in >> f.delay_us >> f.jitter_us >> f.loss >> f.rate >> f.swaps >> f.resets;
  return f;
}

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
int Plug(const std::string& name, const char* interface) {
  if (name != "-") {
    const int space = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) return -1;
    close(space);
  }
  const int end = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (end < 0) return -1;
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  return ioctl(end, TUNSETIFF, &request) == 0 ? end : -1;
}

// Where the TCP header of a frame begins that has data in it, or 0; `data` is where that is.
size_t TcpHeader(std::vector<char>& frame, size_t* data) {
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<uint8_t>(frame[at])); };
  constexpr size_t kIp = 14;
  if (frame.size() < kIp + 40 || byte(12) != 8 || byte(13) != 0 || byte(kIp + 9) != 6) return 0;
  const size_t tcp = kIp + 4 * (byte(kIp) & 15);
  const size_t end = kIp + 256 * byte(kIp + 2) + byte(kIp + 3);
  if (end > frame.size() || tcp + 20 > end) return 0;
  *data = tcp + 4 * (byte(tcp + 12) >> 4);
  frame.resize(end);
  return *data < end ? tcp : 0;
}

// Swaps two bytes of the data, which a sum of words does not show.
void Swap(std::vector<char>& frame, uint64_t where) {
  size_t data = 0;
  if (TcpHeader(frame, &data) == 0) return;
  const size_t bytes = frame.size() - data;
  for (size_t i = 0; i < bytes; ++i) {
    const size_t at = (where + i) % bytes;
    if (at + 2 >= bytes || frame[data + at] == frame[data + at + 2]) continue;
    std::swap(frame[data + at], frame[data + at + 2]);
    return;
  }
}

// Makes it a reset, and mends the checksum.
void Reset(std::vector<char>& frame) {
  size_t data = 0;
  const size_t tcp = TcpHeader(frame, &data);
  if (tcp == 0) return;
  const auto word = [&](size_t at) {
    return static_cast<uint32_t>(static_cast<uint8_t>(frame[at]) << 8 |
                                 static_cast<uint8_t>(frame[at + 1]));
  };
  constexpr uint32_t kFlags = 0x3f;
  constexpr uint32_t kReset = 0x04;
  const uint32_t before = word(tcp + 12);
  const uint32_t after = (before & ~kFlags) | kReset;
  uint32_t sum = (~word(tcp + 16) & 0xffff) + (~before & 0xffff) + after;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  sum = ~sum & 0xffff;
  frame[tcp + 13] = static_cast<char>(after & 0xff);
  frame[tcp + 16] = static_cast<char>(sum >> 8);
  frame[tcp + 17] = static_cast<char>(sum & 0xff);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::array<int, 2> ends = {Plug(argv[1], argv[3]), Plug(argv[2], argv[3])};
  if (ends[0] < 0 || ends[1] < 0) return 3;
  std::mt19937_64 random(static_cast<uint64_t>(std::atoll(argv[4])));
  const auto happens = [&random](int64_t of_a_million) {
    return static_cast<int64_t>(random() % 1'000'000) < of_a_million;
  };
  Faults faults = ParseFaults(argv[5]);
  std::string line;
  std::cout << "up" << std::endl;

  std::array<std::priority_queue<Frame>, 2> under_way;  // by the end they go to
  std::array<int64_t, 2> free_us{};                     // when the cable has passed the last on
  uint64_t number = 0;
  int input = STDIN_FILENO;
  std::array<char, kFrameBytes> buffer{};
  for (;;) {
    int64_t due_us = NowUs() + 1'000'000;
    for (const auto& queue : under_way) {
      if (!queue.empty()) due_us = std::min(due_us, queue.top().due_us);
    }
    const int64_t left_us = std::max<int64_t>(due_us - NowUs(), 0);
    std::array<pollfd, 3> fds = {{{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}, {input, POLLIN, 0}}};
    const timespec wait{left_us / 1'000'000, left_us % 1'000'000 * 1000};
    (void)ppoll(fds.data(), fds.size(), &wait, nullptr);
    if (fds[2].revents != 0) {
      const ssize_t bytes = read(input, buffer.data(), buffer.size());
      if (bytes <= 0) input = -1;
      for (ssize_t i = 0; i < bytes; ++i) {
        if (buffer[static_cast<size_t>(i)] == '\n') {
          faults = ParseFaults(std::exchange(line, {}));
        } else if (line.size() < kFrameBytes) {
          line += buffer[static_cast<size_t>(i)];
        }
      }
    }
    for (size_t from = 0; from < 2; ++from) {
      const size_t to = 1 - from;
      ssize_t bytes = 0;
      while ((bytes = read(ends[from], buffer.data(), buffer.size())) > 0) {
        const bool lost = happens(faults.loss);
        const auto jitter =
            static_cast<int64_t>(random() % static_cast<uint64_t>(faults.jitter_us + 1));
        if (lost || under_way[to].size() == kFrames) continue;
        std::vector<char> frame(buffer.data(), buffer.data() + bytes);
        if (happens(faults.swaps)) Swap(frame, random());
        if (happens(faults.resets)) Reset(frame);
        free_us[to] = std::max(free_us[to], NowUs());
        if (faults.rate > 0) free_us[to] += bytes * 1'000'000 / faults.rate;
        under_way[to].push({free_us[to] + faults.delay_us + jitter, number++, std::move(frame)});
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
