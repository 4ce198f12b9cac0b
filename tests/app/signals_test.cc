#include "app/signals.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "gtest/gtest.h"
#include "inferd/base/bounded_queue.h"

namespace inferd::app {
namespace {

TEST(SignalWatcher, DeliversWatchedSignalsInOrder) {
  BoundedQueue<int> seen(16);
  SignalWatcher watcher({SIGUSR1, SIGUSR2}, [&](int signal) { seen.TryPush(std::move(signal)); });
  ASSERT_EQ(kill(getpid(), SIGUSR2), 0);
  EXPECT_EQ(seen.PopFor(std::chrono::seconds(60)), SIGUSR2);
  ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
  EXPECT_EQ(seen.PopFor(std::chrono::seconds(60)), SIGUSR1);
}

TEST(SignalWatcher, StopsWithoutASignal) {
  for (int i = 0; i < 50; ++i) {
    SignalWatcher watcher({SIGUSR1}, [](int) {});
  }
}

}  // namespace
}  // namespace inferd::app
