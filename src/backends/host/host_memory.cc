#include "backends/host/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "inferd/base/control_groups.h"

namespace inferd {
namespace {

// A line of "Name:  123 kB" of /proc/meminfo, in bytes.
std::optional<int64_t> ReadMemInfo(const std::string& root, const std::string& name) {
  std::ifstream file(root + "proc/meminfo");
  std::string key;
  int64_t kibibytes = 0;
  std::string unit;
  while (file >> key >> kibibytes) {
    if (key == name) return kibibytes * 1024;
    std::getline(file, unit);
  }
  return std::nullopt;
}

// The smaller; without one, the other.
void Tighten(std::optional<int64_t> bytes, std::optional<int64_t>* limit) {
  if (bytes && *bytes >= 0) *limit = std::min(limit->value_or(*bytes), *bytes);
}

// Past memory.high the kernel stops the group's threads to take pages back: as bad as a limit.
std::optional<int64_t> LimitOf(const ControlGroup& group) {
  std::optional<int64_t> limit;
  if (group.version == 2) {
    Tighten(NumberInFile(group.directory + "/memory.max"), &limit);
    Tighten(NumberInFile(group.directory + "/memory.high"), &limit);
    return limit;
  }
  Tighten(NumberInFile(group.directory + "/memory.limit_in_bytes"), &limit);
  // Of the groups above, which a container does not see.
  Tighten(NumberInFile(group.directory + "/memory.stat", "hierarchical_memory_limit"), &limit);
  return limit;
}

// Without the page cache, which goes when memory is wanted.
int64_t UsedBy(const ControlGroup& group) {
  const std::string prefix = group.version == 2 ? "" : "total_";
  int64_t used = NumberInFile(group.directory +
                              (group.version == 2 ? "/memory.current" : "/memory.usage_in_bytes"))
                     .value_or(0);
  for (const char* kind : {"inactive_file", "active_file"}) {
    used -= NumberInFile(group.directory + "/memory.stat", prefix + kind).value_or(0);
  }
  return std::max<int64_t>(used, 0);
}

}  // namespace

HostMemory ReadHostMemory(const std::string& root) {
  HostMemory memory;
  const int64_t page = sysconf(_SC_PAGESIZE);
  memory.total_bytes = ReadMemInfo(root, "MemTotal:").value_or(sysconf(_SC_PHYS_PAGES) * page);
  // MemAvailable counts the page cache that can be had, which sysconf does not.
  memory.available_bytes =
      ReadMemInfo(root, "MemAvailable:").value_or(sysconf(_SC_AVPHYS_PAGES) * page);
  const int64_t machine = memory.total_bytes;
  for (const ControlGroup& group : FindControlGroups("memory", root)) {
    const std::optional<int64_t> limit = LimitOf(group);
    // Without a limit the file says "max", in version 1 more than any machine has.
    if (!limit || *limit >= machine) continue;
    memory.total_bytes = std::min(memory.total_bytes, *limit);
    const int64_t left = std::max<int64_t>(*limit - UsedBy(group), 0);
    memory.available_bytes = std::min(memory.available_bytes, left);
  }
  return memory;
}

}  // namespace inferd
