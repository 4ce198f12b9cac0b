#include "inferd/base/snapshot_cell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace inferd {
namespace {

struct Pair {
  uint64_t a = 0;
  uint64_t b[15] = {};
};

TEST(SnapshotCell, ReadersNeverSeeATornValue) {
  SnapshotCell<Pair> cell;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t i = 1; i <= 20000; ++i) {
      Pair p;
      p.a = i;
      for (auto& b : p.b) b = i;
      cell.Write(p);
    }
    stop = true;
  });
  while (!stop) {
    const Pair p = cell.Read();
    for (const auto b : p.b) ASSERT_EQ(b, p.a);
  }
  writer.join();
  EXPECT_EQ(cell.Read().a, 20000u);
}

}  // namespace
}  // namespace inferd
