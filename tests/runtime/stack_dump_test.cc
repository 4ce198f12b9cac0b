#include "runtime/stack_dump.h"

#include <sys/resource.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace inferd::runtime {
namespace {

int64_t OwnDiskBytes() {
  rusage usage{};
  EXPECT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  return 512 * int64_t{usage.ru_inblock};
}

TEST(StackDumpTest, DiskBytesAreTheKernelsCount) {
  const int64_t before = OwnDiskBytes();
  const int64_t bytes = DiskBytes(getpid());
  if (bytes < 0) GTEST_SKIP() << "this kernel does not count";
  EXPECT_GE(bytes, before);
  EXPECT_LE(bytes, OwnDiskBytes() + 511);
  EXPECT_EQ(DiskBytes(-1), -1);
}

}  // namespace
}  // namespace inferd::runtime
