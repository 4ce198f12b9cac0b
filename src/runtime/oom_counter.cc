#include "runtime/oom_counter.h"

#include <fstream>
#include <string>

namespace inferd::runtime {
namespace {

// The number after `name` in a file of "name number" lines; -1 when there is none.
int64_t NumberIn(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  int64_t value = 0;
  while (file >> word >> value) {
    if (word == name) return value;
  }
  return -1;
}

}  // namespace

int64_t CountOomKills() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    // "0::/path" of version 2, "4:memory:/path" of version 1.
    const size_t path = line.find(":/");
    if (path == std::string::npos) continue;
    const std::string group = line.substr(path + 1);
    int64_t kills = -1;
    if (line.rfind("0::", 0) == 0) {
      kills = NumberIn("/sys/fs/cgroup" + group + "/memory.events", "oom_kill");
    } else if (line.find(":memory:") != std::string::npos) {
      kills = NumberIn("/sys/fs/cgroup/memory" + group + "/memory.oom_control", "oom_kill");
    }
    if (kills >= 0) return kills;
  }
  const int64_t machine = NumberIn("/proc/vmstat", "oom_kill");
  return machine >= 0 ? machine : 0;
}

}  // namespace inferd::runtime
