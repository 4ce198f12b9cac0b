#include "backends/cpu/cpu_budget.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <numeric>
#include <string>

#include "support/system_root.h"

namespace inferd {
namespace {

class QuotaTest : public testing::SystemRoot {
 protected:
  double Quota() const { return ReadCpuQuota(root()); }
};

TEST_F(QuotaTest, NoneWithoutControlGroups) { EXPECT_EQ(Quota(), 0); }

TEST_F(QuotaTest, Version2AsAContainerSeesIt) {
  Write("proc/self/cgroup", "0::/\n");
  MountVersion2();
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), 0);
  Write("sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 2.5);
}

TEST_F(QuotaTest, TheTightestLimitOnTheWayUpCounts) {
  Write("proc/self/cgroup", "0::/pods/pod1/inferd\n");
  MountVersion2();
  Write("sys/fs/cgroup/pods/pod1/inferd/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/pods/pod1/cpu.max", "400000 100000\n");
  Write("sys/fs/cgroup/pods/cpu.max", "3200000 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 4);
}

TEST_F(QuotaTest, TheGroupAloneMountedUnderTheHostsPath) {
  Write("proc/self/cgroup", "0::/docker/0123abcd\n");
  MountVersion2("/docker/0123abcd");
  Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(Quota(), 1.5);
}

TEST_F(QuotaTest, Version1) {
  Write("proc/self/cgroup", "4:memory:/box\n3:cpuset:/\n2:cpu,cpuacct:/box\n0::/\n");
  Write("proc/self/mountinfo", "");
  MountVersion1("cpu,cpuacct");
  Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 0);
  Write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n");
  EXPECT_DOUBLE_EQ(Quota(), 0.5);
}

TEST_F(QuotaTest, NonsenseIsNoLimit) {
  Write("proc/self/cgroup", "\n::\nnothing\n0:/\n0::/a/../b\n");
  MountVersion2();
  Write("sys/fs/cgroup/cpu.max", "12 parsecs\n");
  EXPECT_EQ(Quota(), 0);
  Write("sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_EQ(Quota(), 0);
}

TEST(CpuBudgetTest, FollowsTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  const CpuBudget all = ReadCpuBudget("/nowhere/");
  ASSERT_EQ(static_cast<int>(all.cores.size()), CPU_COUNT(&before));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(all.cores.back()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(ReadCpuBudget("/nowhere/").cores, std::vector<int>{all.cores.back()});
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

CpuBudget Budget(int cores, double quota = 0) {
  CpuBudget budget;
  budget.cores.resize(static_cast<size_t>(cores));
  std::iota(budget.cores.begin(), budget.cores.end(), 4);
  budget.quota = quota;
  return budget;
}

int Threads(const CpuBudget& budget, int asked = 0) {
  return ChooseCpus(budget, asked, ThreadPinning::kAuto).threads;
}

TEST(ChooseCpusTest, ThreadsFitTheCoresAndTheQuota) {
  EXPECT_EQ(Threads(Budget(1)), 1);
  EXPECT_EQ(Threads(Budget(2)), 2);
  EXPECT_EQ(Threads(Budget(7)), 7);
  EXPECT_EQ(Threads(Budget(8)), 7);
  EXPECT_EQ(Threads(Budget(64)), 63);
  EXPECT_EQ(Threads(Budget(64, 0.25)), 1);
  EXPECT_EQ(Threads(Budget(64, 3.9)), 3);
  EXPECT_EQ(Threads(Budget(64, 16)), 15);
  EXPECT_EQ(Threads(Budget(2, 16)), 2);
}

TEST(ChooseCpusTest, WhatIsAskedForIsTaken) {
  EXPECT_EQ(Threads(Budget(2, 1), 5), 5);
  EXPECT_EQ(Threads(Budget(64), 1), 1);
}

TEST(ChooseCpusTest, PinsByItselfOnlyWhereThereIsRoom) {
  const auto cores = [](const CpuBudget& budget, ThreadPinning pinning, int threads = 0) {
    return ChooseCpus(budget, threads, pinning).cores;
  };
  EXPECT_TRUE(cores(Budget(2), ThreadPinning::kAuto).empty());
  EXPECT_TRUE(cores(Budget(16, 12), ThreadPinning::kAuto).empty());
  EXPECT_TRUE(cores(Budget(16), ThreadPinning::kAuto, 16).empty());
  EXPECT_TRUE(cores(Budget(16), ThreadPinning::kOff).empty());
  EXPECT_EQ(cores(Budget(8), ThreadPinning::kAuto), (std::vector<int>{5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(cores(Budget(2), ThreadPinning::kOn), std::vector<int>{5});
  EXPECT_TRUE(cores(Budget(1), ThreadPinning::kOn).empty());
}

TEST(ShareCpusTest, RanksGetEvenPartsAndCoresOfTheirOwn) {
  const CpuChoice seven = ChooseCpus(Budget(8), 0, ThreadPinning::kAuto);
  const CpuChoice first = ShareCpus(seven, 0, 2);
  const CpuChoice second = ShareCpus(seven, 1, 2);
  EXPECT_EQ(first.threads, 4);
  EXPECT_EQ(second.threads, 3);
  EXPECT_EQ(first.cores, (std::vector<int>{5, 6, 7}));
  EXPECT_EQ(second.cores, (std::vector<int>{9, 10}));
  EXPECT_EQ(ShareCpus(seven, 0, 1).cores, seven.cores);
}

TEST(ShareCpusTest, MoreRanksThanThreadsHaveOneEach) {
  const CpuChoice two = ChooseCpus(Budget(2), 0, ThreadPinning::kOn);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(ShareCpus(two, rank, 4).threads, 1);
    EXPECT_TRUE(ShareCpus(two, rank, 4).cores.empty());
  }
}

}  // namespace
}  // namespace inferd
