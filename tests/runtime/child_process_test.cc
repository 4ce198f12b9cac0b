#include "runtime/child_process.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace inferd::runtime {
namespace {

constexpr int kSkip = 77;

// Starts a child with every small number of descriptors left; 0 when nobody else came to
// harm by it. In a process namespace of its own: the harm would be a signal to all.
int StartWithFewDescriptors() {
  if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) return kSkip;
  const pid_t first = fork();
  if (first < 0) return kSkip;
  if (first > 0) {
    int status = 0;
    (void)waitpid(first, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  const pid_t witness = fork();
  if (witness == 0) {
    for (;;) pause();
  }
  constexpr int kOpen = 3;
  (void)close_range(kOpen, ~0U, 0);
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  bool failed = false;
  bool started = false;
  for (int left = 0; left < 12; ++left) {
    limit.rlim_cur = static_cast<rlim_t>(kOpen + left);
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    const auto child = ChildProcess::Start({"/bin/true"});
    failed = failed || !child.ok();
    started = started || child.ok();
  }
  if (!failed || !started) _exit(2);
  if (ChildProcess::Start({"/nowhere/at/all"}).ok()) _exit(4);
  _exit(waitpid(witness, nullptr, WNOHANG) == 0 ? 0 : 3);
}

TEST(ChildProcessTest, AStartThatFailsHarmsNobody) {
  const pid_t child = fork();
  if (child == 0) _exit(StartWithFewDescriptors());
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kSkip) GTEST_SKIP() << "no process namespace to be had";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ChildProcessTest, SaysHowItEnded) {
  auto child = ChildProcess::Start({"/bin/false"});
  ASSERT_TRUE(child.ok()) << child.status().ToString();
  const ChildExit end = (*child)->Wait();
  EXPECT_FALSE(end.signalled);
  EXPECT_EQ(end.code, 1);
  EXPECT_TRUE((*child)->waited());
}

}  // namespace
}  // namespace inferd::runtime
