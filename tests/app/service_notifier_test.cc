#include "app/service_notifier.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

#include "gtest/gtest.h"

namespace inferd::app {
namespace {

// What a service manager has at the other end.
class FakeManager {
 public:
  FakeManager() : path_(testing::TempDir() + "/inferd_notify_" + std::to_string(getpid())) {
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    unlink(path_.c_str());
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    const timeval timeout{5, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~FakeManager() {
    close(fd_);
    unlink(path_.c_str());
  }
  std::string Receive(int flags = 0) const {
    std::array<char, 512> buffer{};
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), flags);
    return size < 0 ? "nothing" : std::string(buffer.data(), static_cast<size_t>(size));
  }
  std::vector<std::string> environment(const std::string& more = "X=1") const {
    return {"PATH=/bin", "NOTIFY_SOCKET=" + path_, more};
  }

 private:
  const std::string path_;
  int fd_;
};

TEST(ServiceNotifier, SaysWhatSystemdExpects) {
  const FakeManager manager;
  const ServiceNotifier notifier(manager.environment());
  EXPECT_TRUE(notifier.active());
  notifier.ExtendStart(std::chrono::seconds(30), "loading");
  EXPECT_EQ(manager.Receive(), "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading");
  notifier.Ready("serving m");
  EXPECT_EQ(manager.Receive(), "READY=1\nSTATUS=serving m");
  notifier.Reloading(12345);
  EXPECT_EQ(manager.Receive(),
            "RELOADING=1\nMONOTONIC_USEC=12345\nSTATUS=reading the configuration");
  notifier.Watchdog();
  EXPECT_EQ(manager.Receive(), "WATCHDOG=1");
  notifier.Stopping("bye");
  EXPECT_EQ(manager.Receive(), "STOPPING=1\nSTATUS=bye");
}

TEST(ServiceNotifier, AbstractSockets) {
  const std::string name = "inferd_notify_test_" + std::to_string(getpid());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  const ServiceNotifier notifier({"NOTIFY_SOCKET=@" + name});
  notifier.Watchdog();
  std::array<char, 64> buffer{};
  EXPECT_EQ(recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT), 10);
  close(fd);
}

TEST(ServiceNotifier, WithoutAManagerNothingHappens) {
  for (const char* entry :
       {"OTHER=x", "NOTIFY_SOCKET=", "NOTIFY_SOCKET=relative", "NOTIFY_SOCKET=vsock:1:2"}) {
    const ServiceNotifier notifier({entry});
    EXPECT_FALSE(notifier.active()) << entry;
    notifier.Ready("x");
  }
  EXPECT_FALSE(ServiceNotifier({"NOTIFY_SOCKET=/" + std::string(200, 'x')}).active());
  const ServiceNotifier gone({"NOTIFY_SOCKET=/nowhere/notify"});
  gone.Ready("nobody listens");
  EXPECT_EQ(gone.watchdog().count(), 0);
}

TEST(ServiceNotifier, TheWatchdogIsForThisProcess) {
  const FakeManager manager;
  EXPECT_EQ(ServiceNotifier(manager.environment("WATCHDOG_USEC=7000")).watchdog().count(), 7000);
  auto environment = manager.environment("WATCHDOG_USEC=7000");
  environment.push_back("WATCHDOG_PID=" + std::to_string(getpid()));
  EXPECT_EQ(ServiceNotifier(environment).watchdog().count(), 7000);
  environment.back() = "WATCHDOG_PID=1";
  EXPECT_EQ(ServiceNotifier(environment).watchdog().count(), 0);
  EXPECT_EQ(ServiceNotifier(manager.environment("WATCHDOG_USEC=x")).watchdog().count(), 0);
}

TEST(Heartbeat, BeatsUntilItsEnd) {
  std::atomic<int> beats{0};
  {
    const Heartbeat heartbeat(std::chrono::milliseconds(1), [&] { ++beats; });
    while (beats < 3) usleep(1000);
  }
  const int last = beats;
  usleep(20'000);
  EXPECT_EQ(beats, last);
  {
    const Heartbeat once(std::chrono::hours(1), [&] { beats = -1; });
  }
  EXPECT_EQ(beats, -1);  // the first one is not waited for
}

}  // namespace
}  // namespace inferd::app
