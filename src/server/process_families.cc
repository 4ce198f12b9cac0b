#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "server/metric_families.h"

namespace inferd {
namespace {

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Virtual and resident size in pages; zeros when /proc is not there.
void MemoryPages(long* virtual_pages, long* resident_pages) {
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return;
  if (std::fscanf(file, "%ld %ld", virtual_pages, resident_pages) != 2) {
    *virtual_pages = *resident_pages = 0;
  }
  std::fclose(file);
}

double OpenFiles() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 3;  // ".", ".." and the directory itself
}

double MaxFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

void AddProcessFamilies(int64_t start_unix_us, FamilyBuilder* out) {
  long virtual_pages = 0;
  long resident_pages = 0;
  MemoryPages(&virtual_pages, &resident_pages);
  const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  out->Counter("process_cpu_seconds_total", "User and system CPU time spent in seconds.");
  out->Add({}, CpuSeconds());
  out->Gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  out->Add({}, static_cast<double>(resident_pages) * page_bytes);
  out->Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
  out->Add({}, static_cast<double>(virtual_pages) * page_bytes);
  out->Gauge("process_open_fds", "Number of open file descriptors.");
  out->Add({}, OpenFiles());
  out->Gauge("process_max_fds", "Maximum number of open file descriptors.");
  out->Add({}, MaxFiles());
  out->Gauge("process_start_time_seconds",
             "Start time of the process since the Unix epoch in seconds.");
  out->Add({}, static_cast<double>(start_unix_us) / 1e6);
}

}  // namespace inferd
