#include "inferd/base/control_groups.h"

#include <fstream>
#include <sstream>
#include <utility>

namespace inferd {
namespace {

constexpr std::string_view kMounts = "/sys/fs/cgroup";

// A place where a hierarchy of groups is mounted, and which of its groups is seen there.
struct Mount {
  int version = 2;
  std::string group;
  std::string directory;
};

bool Lists(const std::string& list, std::string_view name) {
  std::stringstream items(list);
  std::string item;
  while (std::getline(items, item, ',')) {
    if (item == name) return true;
  }
  return false;
}

// Lines of "ID PARENT DEVICE GROUP DIRECTORY OPTIONS [TAGS] - TYPE SOURCE SUPER-OPTIONS".
std::vector<Mount> FindMounts(std::string_view controller, const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "proc/self/mountinfo");
  std::string line;
  while (std::getline(file, line)) {
    std::stringstream fields(line);
    Mount mount;
    std::string skipped;
    fields >> skipped >> skipped >> skipped >> mount.group >> mount.directory;
    if (mount.directory.rfind(kMounts, 0) != 0) continue;
    while (fields >> skipped && skipped != "-") continue;
    std::string type;
    std::string source;
    std::string options;
    fields >> type >> source >> options;
    if (type == "cgroup" && Lists(options, controller)) {
      mount.version = 1;
    } else if (type != "cgroup2") {
      continue;
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

// The group's path below a mount; empty: the group that is mounted itself.
std::string Below(const std::string& mounted, const std::string& group) {
  const std::string above = mounted == "/" ? "" : mounted;
  // Names of another namespace begin with "/..".
  if (group.rfind(above + "/", 0) != 0 || group.find("/..") != std::string::npos) return "";
  const std::string path = group.substr(above.size());
  return path == "/" ? "" : path;
}

}  // namespace

std::vector<ControlGroup> FindControlGroups(std::string_view controller, const std::string& root) {
  const std::vector<Mount> mounts = FindMounts(controller, root);
  std::vector<ControlGroup> found;
  // Lines of "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers.
  std::ifstream groups(root + "proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const int version = controllers.empty() ? 2 : 1;
    if (version == 1 && !Lists(controllers, controller)) continue;
    for (const Mount& mount : mounts) {
      if (mount.version != version) continue;
      const std::string top = root + mount.directory.substr(1);
      std::string path = Below(mount.group, line.substr(second + 1));
      for (; !path.empty(); path.resize(path.rfind('/'))) found.push_back({version, top + path});
      found.push_back({version, top});
    }
  }
  return found;
}

std::optional<int64_t> NumberInFile(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> NumberInFile(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  int64_t value = 0;
  while (file >> word >> value) {
    if (word == name) return value;
  }
  return std::nullopt;
}

}  // namespace inferd
