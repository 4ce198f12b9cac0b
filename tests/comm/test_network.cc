#include "comm/test_network.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <utility>

#include "inferd/base/check.h"

extern char** environ;

namespace inferd::testing {

std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < line.size()) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

pid_t StartProgram(std::vector<std::string> words, int out) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (out >= 0) {
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  pid_t pid = -1;
  if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

bool Command(const std::string& line) {
  const pid_t pid = StartProgram(Words(line), -1);
  int status = 0;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

TestNetwork::TestNetwork(int hosts) {
  for (int host = 0; host < hosts; ++host) {
    names_.push_back("inferd" + std::to_string(getpid()) + static_cast<char>('a' + host));
  }
}

std::unique_ptr<TestNetwork> TestNetwork::Make(int hosts) {
  std::unique_ptr<TestNetwork> network(new TestNetwork(hosts));
  for (const std::string& name : network->names_) {
    if (!Command("ip netns add " + name) || !Command("ip -n " + name + " link set lo up")) {
      return nullptr;
    }
  }
  return network;
}

TestNetwork::~TestNetwork() {
  Unplug();
  for (const std::string& name : names_) Command("ip netns del " + name);
}

std::string TestNetwork::Cable(int host, int other) {
  return "cable" + std::to_string(std::min(host, other)) + std::to_string(std::max(host, other));
}

bool TestNetwork::HasTunnels() {
  return static_cast<bool>(UniqueFd(open("/dev/net/tun", O_RDWR | O_CLOEXEC)));
}

bool TestNetwork::Plug() {
  Unplug();
  for (int host = 0; host < static_cast<int>(names_.size()); ++host) {
    for (int other = 0; other < host; ++other) {
      const std::string cable = Cable(host, other);
      if (!Command("ip -n " + name(other) + " link add " + cable + " type veth peer name " + cable +
                   " netns " + name(host))) {
        return false;
      }
    }
  }
  return SetAddresses();
}

bool TestNetwork::Plug(const LinkFaults& faults) {
  Unplug();
  for (int host = 0; host < static_cast<int>(names_.size()); ++host) {
    for (int other = 0; other < host; ++other) {
      std::array<int, 2> pipe_fds{};
      if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return false;
      const UniqueFd read_end(pipe_fds[0]);
      UniqueFd write_end(pipe_fds[1]);
      links_.push_back(
          StartProgram({USER_LINK, name(other), name(host), Cable(host, other),
                        std::to_string(links_.size() + 1),
                        std::to_string(faults.delay_us) + " " + std::to_string(faults.jitter_us) +
                            " " + std::to_string(faults.loss) + " " + std::to_string(faults.rate)},
                       write_end.get()));
      write_end.Reset();
      char byte = 0;
      if (read(read_end.get(), &byte, 1) != 1) return false;  // it says "up"
    }
  }
  return SetAddresses();
}

// Of either end the other one is a peer, so that hosts have one address on all of their cables.
bool TestNetwork::SetAddresses() {
  for (int host = 0; host < static_cast<int>(names_.size()); ++host) {
    for (int other = 0; other < static_cast<int>(names_.size()); ++other) {
      if (other == host) continue;
      const std::string ip = "ip -n " + name(host);
      const std::string cable = Cable(host, other);
      if (!Command(ip + " addr add " + Address(host) + " peer " + Address(other) + "/32 dev " +
                   cable) ||
          !Command(ip + " link set " + cable + " up")) {
        return false;
      }
    }
  }
  return true;
}

void TestNetwork::Unplug() {
  for (const pid_t link : links_) {
    if (link <= 0) continue;
    kill(link, SIGKILL);
    waitpid(link, nullptr, 0);
  }
  const bool has_pairs = links_.empty();
  links_.clear();
  for (int host = 0; has_pairs && host < static_cast<int>(names_.size()); ++host) {
    for (int other = 0; other < host; ++other) {
      Command("ip -n " + name(host) + " link del " + Cable(host, other));
    }
  }
}

int64_t TestNetwork::Retransmitted(int host) const {
  const OnHost here(*this, host);
  std::ifstream file("/proc/thread-self/net/snmp");
  std::string line;
  std::vector<std::string> headings;
  while (std::getline(file, line)) {
    if (line.rfind("Tcp:", 0) != 0) continue;
    const std::vector<std::string> words = Words(line);
    if (headings.empty()) {
      headings = words;
      continue;
    }
    const auto at = std::find(headings.begin(), headings.end(), "RetransSegs") - headings.begin();
    return std::stoll(words.at(static_cast<size_t>(at)));
  }
  return -1;
}

OnHost::OnHost(const TestNetwork& network, int host)
    : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  const UniqueFd space(open(("/run/netns/" + network.name(host)).c_str(), O_RDONLY | O_CLOEXEC));
  INFERD_CHECK(before_ && space && setns(space.get(), CLONE_NEWNET) == 0);
}

OnHost::~OnHost() { INFERD_CHECK(setns(before_.get(), CLONE_NEWNET) == 0); }

}  // namespace inferd::testing
