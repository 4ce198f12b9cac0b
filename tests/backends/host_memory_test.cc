#include "backends/host/host_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "support/system_root.h"

namespace inferd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

std::string Text(int64_t mib) { return std::to_string(mib * kMiB) + "\n"; }

// A machine of 16 GiB, 12 of them available.
class HostMemoryTest : public testing::SystemRoot {
 protected:
  void SetUp() override {
    SystemRoot::SetUp();
    Write("proc/meminfo",
          "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n"
          "MemAvailable:   12582912 kB\nHugePages_Total:       0\n");
  }
  void Group2(const std::string& group, const std::string& max, int64_t used, int64_t cache) const {
    const std::string directory = "sys/fs/cgroup" + group;
    Write(directory + "/memory.max", max);
    Write(directory + "/memory.current", Text(used));
    Write(directory + "/memory.stat", "anon 1\nfile 1\ninactive_file " + Text(cache / 2) +
                                          "active_file " + Text(cache - cache / 2));
  }
  void Expect(int64_t total, int64_t available) const {
    const HostMemory memory = ReadHostMemory(root());
    EXPECT_EQ(memory.total_bytes / kMiB, total);
    EXPECT_EQ(memory.available_bytes / kMiB, available);
  }
};

TEST_F(HostMemoryTest, TheMachinesWithoutGroups) { Expect(16384, 12288); }

TEST_F(HostMemoryTest, Version2WithoutALimit) {
  MountVersion2();
  Write("proc/self/cgroup", "0::/\n");
  Group2("", "max\n", 5000, 1000);
  Expect(16384, 12288);
}

// Pages of files go when memory is wanted: a checkpoint that was read takes nothing away.
TEST_F(HostMemoryTest, Version2AsAContainerSeesIt) {
  MountVersion2();
  Write("proc/self/cgroup", "0::/\n");
  Group2("", Text(4096), 3000, 2500);
  Expect(4096, 4096 - 500);
  Write("sys/fs/cgroup/memory.high", Text(1024));
  Expect(1024, 1024 - 500);
  // More than the limit: nothing is left, and that is not "unknown".
  Write("sys/fs/cgroup/memory.high", Text(400));
  Expect(400, 0);
}

// A unit in a slice that has a limit, of which its neighbours have taken a part.
TEST_F(HostMemoryTest, GroupsAboveLimitAsWell) {
  MountVersion2();
  Write("proc/self/cgroup", "0::/system.slice/inferd.service\n");
  Group2("/system.slice/inferd.service", "max\n", 10, 0);
  Group2("/system.slice", Text(8192), 5000, 0);
  Expect(8192, 3192);
  Group2("/system.slice/inferd.service", Text(4096), 10, 0);
  Expect(4096, 3192);
  Group2("/system.slice", Text(8192), 1000, 0);
  Expect(4096, 4086);
}

TEST_F(HostMemoryTest, Version1InTheHostsNamespace) {
  Write("proc/self/mountinfo", "");
  MountVersion1("memory", "/docker/0123");
  Write("proc/self/cgroup", "4:memory:/docker/0123\n3:cpu:/docker/0123\n0::/\n");
  const std::string directory = "sys/fs/cgroup/memory/";
  Write(directory + "memory.limit_in_bytes", "9223372036854771712\n");
  Write(directory + "memory.usage_in_bytes", Text(700));
  Write(directory + "memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file " +
                                       Text(100) + "total_active_file " + Text(200));
  Expect(16384, 12288);
  Write(directory + "memory.limit_in_bytes", Text(2048));
  Expect(2048, 2048 - 400);
  // Of a pod, which its container does not see.
  Write(directory + "memory.limit_in_bytes", "9223372036854771712\n");
  Write(directory + "memory.stat", "hierarchical_memory_limit " + Text(1024));
  Expect(1024, 1024 - 700);
}

TEST_F(HostMemoryTest, TheMachineMayHaveLessThanTheGroupMay) {
  MountVersion2();
  Write("proc/self/cgroup", "0::/\n");
  Group2("", Text(14000), 100, 0);
  Expect(14000, 12288);
}

}  // namespace
}  // namespace inferd
