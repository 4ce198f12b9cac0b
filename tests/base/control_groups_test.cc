#include "inferd/base/control_groups.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/system_root.h"

namespace inferd {
namespace {

class ControlGroupsTest : public testing::SystemRoot {
 protected:
  // Version and directory below the root, of the process's own group first.
  std::vector<std::string> Find(std::string_view controller) const {
    std::vector<std::string> found;
    for (const ControlGroup& group : FindControlGroups(controller, root())) {
      EXPECT_EQ(group.directory.rfind(root(), 0), 0U);
      found.push_back(std::to_string(group.version) + " " + group.directory.substr(root().size()));
    }
    return found;
  }
};

using Found = std::vector<std::string>;

TEST_F(ControlGroupsTest, NoneWithoutTheirFiles) {
  EXPECT_EQ(Find("memory"), Found());
  Write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(Find("memory"), Found());
}

TEST_F(ControlGroupsTest, TheOwnGroupComesFirstThenThoseAbove) {
  Write("proc/self/cgroup", "0::/pods/pod1/inferd\n");
  MountVersion2();
  EXPECT_EQ(Find("memory"), (Found{"2 sys/fs/cgroup/pods/pod1/inferd", "2 sys/fs/cgroup/pods/pod1",
                                   "2 sys/fs/cgroup/pods", "2 sys/fs/cgroup"}));
}

// A container in a namespace of its own: it is at the top of what it sees.
TEST_F(ControlGroupsTest, InANamespaceTheTopIsTheGroup) {
  Write("proc/self/cgroup", "0::/\n");
  MountVersion2();
  EXPECT_EQ(Find("cpu"), Found{"2 sys/fs/cgroup"});
}

// A container in the host's namespace: its group alone is mounted.
TEST_F(ControlGroupsTest, PathsAreRelativeToTheGroupThatIsMounted) {
  MountVersion2("/docker/0123");
  Write("proc/self/cgroup", "0::/docker/0123\n");
  EXPECT_EQ(Find("memory"), Found{"2 sys/fs/cgroup"});
  Write("proc/self/cgroup", "0::/docker/0123/inner/one\n");
  EXPECT_EQ(Find("memory"),
            (Found{"2 sys/fs/cgroup/inner/one", "2 sys/fs/cgroup/inner", "2 sys/fs/cgroup"}));
  // A group whose name only begins alike, and one outside of the namespace.
  for (const char* other : {"0::/docker/01234\n", "0::/../other\n", "0::/docker/0123/../x\n"}) {
    Write("proc/self/cgroup", other);
    EXPECT_EQ(Find("memory"), Found{"2 sys/fs/cgroup"}) << other;
  }
}

TEST_F(ControlGroupsTest, OfVersion1OnlyTheControllersOwn) {
  Write("proc/self/cgroup",
        "9:name=systemd:/x\n5:memory:/box\n4:cpuset:/set\n3:cpu,cpuacct:/a/b\n0::/v2\n");
  Write("proc/self/mountinfo", "");
  MountVersion1("memory", "/box");
  MountVersion1("cpu,cpuacct");
  MountVersion1("cpuset");
  EXPECT_EQ(Find("memory"), Found{"1 sys/fs/cgroup/memory"});
  EXPECT_EQ(Find("cpu"), (Found{"1 sys/fs/cgroup/cpu,cpuacct/a/b", "1 sys/fs/cgroup/cpu,cpuacct/a",
                                "1 sys/fs/cgroup/cpu,cpuacct"}));
  EXPECT_EQ(Find("io"), Found());
}

TEST_F(ControlGroupsTest, NonsenseIsNoGroup) {
  Write("proc/self/mountinfo",
        "\n30\n30 25 0:26 / /sys/fs/cgroup\n30 25 0:26 / /sys/fs/cgroup rw -\n");
  Write("proc/self/cgroup", "\n::\nnothing\n0:/\n0::/\n5:memory\n");
  EXPECT_EQ(Find("memory"), Found());
  // Elsewhere it may be another's view.
  Write("proc/self/mountinfo", "30 25 0:26 / /host/sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  EXPECT_EQ(Find("memory"), Found());
}

TEST_F(ControlGroupsTest, Numbers) {
  Write("limit", "4096\n");
  Write("none", "max\n");
  Write("events", "low 0\nmax 17\noom 3\noom_kill 2\n");
  EXPECT_EQ(NumberInFile(root() + "limit"), 4096);
  EXPECT_EQ(NumberInFile(root() + "none"), std::nullopt);
  EXPECT_EQ(NumberInFile(root() + "absent"), std::nullopt);
  EXPECT_EQ(NumberInFile(root() + "events", "oom_kill"), 2);
  EXPECT_EQ(NumberInFile(root() + "events", "oom_group_kill"), std::nullopt);
}

}  // namespace
}  // namespace inferd
