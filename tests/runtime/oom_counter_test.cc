#include "runtime/oom_counter.h"

#include <gtest/gtest.h>

#include "support/system_root.h"

namespace inferd::runtime {
namespace {

class OomCounterTest : public inferd::testing::SystemRoot {
 protected:
  void SetUp() override {
    SystemRoot::SetUp();
    Write("proc/vmstat", "pgfault 5\noom_kill 9\n");
  }
};

TEST_F(OomCounterTest, TheMachinesWhereNoGroupTells) {
  EXPECT_EQ(CountOomKills(root()), 9);
  EXPECT_EQ(CountOomKills("/nowhere/"), 0);
}

TEST_F(OomCounterTest, Version2) {
  MountVersion2();
  Write("proc/self/cgroup", "0::/unit\n");
  Write("sys/fs/cgroup/unit/memory.events", "oom 4\noom_kill 3\n");
  EXPECT_EQ(CountOomKills(root()), 3);
}

// In a container of version 1 the group has the host's path, but is mounted alone: the
// machine's count would blame kills of others.
TEST_F(OomCounterTest, Version1InTheHostsNamespace) {
  Write("proc/self/mountinfo", "");
  MountVersion1("memory", "/docker/0123");
  Write("proc/self/cgroup", "4:memory:/docker/0123\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  EXPECT_EQ(CountOomKills(root()), 1);
}

}  // namespace
}  // namespace inferd::runtime
