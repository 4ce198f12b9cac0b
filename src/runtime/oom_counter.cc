#include "runtime/oom_counter.h"

#include <optional>

#include "inferd/base/control_groups.h"

namespace inferd::runtime {

int64_t CountOomKills(const std::string& root) {
  for (const ControlGroup& group : FindControlGroups("memory", root)) {
    const char* const file = group.version == 2 ? "/memory.events" : "/memory.oom_control";
    if (const auto kills = NumberInFile(group.directory + file, "oom_kill")) return *kills;
  }
  return NumberInFile(root + "proc/vmstat", "oom_kill").value_or(0);
}

}  // namespace inferd::runtime
