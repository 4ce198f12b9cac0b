// The control groups (Linux cgroups, of either version or both) that bound this process, as far
// as it can see them. Any thread; reads files each time. `root` is "/" except in tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inferd {

struct ControlGroup {
  int version = 2;        // 1: the files of one controller; 2: of all
  std::string directory;  // where its files are; may be absent
};

// The process's own group of `controller` ("cpu", "memory") and those above it, up to what is
// mounted. In a container the names in /proc/self/cgroup may be the host's while only the group
// itself is mounted: /proc/self/mountinfo tells which group a mount shows. A version 2 group
// is named whether or not it has the controller. Empty where there are none.
std::vector<ControlGroup> FindControlGroups(std::string_view controller,
                                            const std::string& root = "/");

// The number that a file begins with; nothing if it is absent or says "max".
std::optional<int64_t> NumberInFile(const std::string& path);
// The number after `name` in a file of lines "name number".
std::optional<int64_t> NumberInFile(const std::string& path, std::string_view name);

}  // namespace inferd
