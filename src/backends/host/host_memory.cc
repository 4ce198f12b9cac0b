#include "backends/host/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace inferd {
namespace {

// The one number in a control-group file; -1 when the file is absent or says "max".
int64_t ReadNumber(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : -1;
}

// MemAvailable counts reclaimable page cache, which sysconf does not.
int64_t ReadMemAvailable() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  int64_t kibibytes = 0;
  std::string unit;
  while (file >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    std::getline(file, unit);
  }
  return -1;
}

}  // namespace

HostMemory ReadHostMemory() {
  HostMemory memory;
  const int64_t page = sysconf(_SC_PAGESIZE);
  memory.total_bytes = sysconf(_SC_PHYS_PAGES) * page;
  memory.available_bytes = ReadMemAvailable();
  if (memory.available_bytes < 0) memory.available_bytes = sysconf(_SC_AVPHYS_PAGES) * page;
  const int64_t limit = ReadNumber("/sys/fs/cgroup/memory.max");
  if (limit >= 0 && limit < memory.total_bytes) {
    memory.total_bytes = limit;
    const int64_t used = std::max<int64_t>(0, ReadNumber("/sys/fs/cgroup/memory.current"));
    memory.available_bytes = std::min(memory.available_bytes, std::max<int64_t>(0, limit - used));
  }
  return memory;
}

}  // namespace inferd
