#include "app/service_notifier.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <utility>

namespace inferd::app {
namespace {

// The last entry of that name counts, as in a shell.
std::string_view ValueOf(const std::vector<std::string>& environment, std::string_view name) {
  std::string_view value;
  for (const std::string_view entry : environment) {
    if (entry.size() > name.size() && entry.substr(0, name.size()) == name &&
        entry[name.size()] == '=') {
      value = entry.substr(name.size() + 1);
    }
  }
  return value;
}

int64_t NumberOf(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() ? value : 0;
}

}  // namespace

ServiceNotifier::ServiceNotifier(const std::vector<std::string>& environment) {
  const std::string_view path = ValueOf(environment, "NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof(address.sun_path) ||
      (path[0] != '/' && path[0] != '@')) {
    return;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  address_.assign(reinterpret_cast<const char*>(&address),
                  offsetof(sockaddr_un, sun_path) + path.size());
  socket_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string_view watched = ValueOf(environment, "WATCHDOG_PID");
  if (watched.empty() || NumberOf(watched) == getpid()) {
    watchdog_ = std::chrono::microseconds(NumberOf(ValueOf(environment, "WATCHDOG_USEC")));
  }
}

void ServiceNotifier::Send(const std::string& text) const {
  if (!socket_) return;
  sendto(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(address_.data()),
         static_cast<socklen_t>(address_.size()));
}

void ServiceNotifier::Ready(std::string_view status) const {
  Send("READY=1\nSTATUS=" + std::string(status));
}
void ServiceNotifier::ExtendStart(std::chrono::microseconds time, std::string_view status) const {
  Send("EXTEND_TIMEOUT_USEC=" + std::to_string(time.count()) + "\nSTATUS=" + std::string(status));
}
void ServiceNotifier::Reloading(int64_t monotonic_us) const {
  Send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_us) +
       "\nSTATUS=reading the configuration");
}
void ServiceNotifier::Stopping(std::string_view status) const {
  Send("STOPPING=1\nSTATUS=" + std::string(status));
}
void ServiceNotifier::Watchdog() const { Send("WATCHDOG=1"); }

Heartbeat::Heartbeat(std::chrono::microseconds interval, std::function<void()> beat)
    : thread_([this, interval, beat = std::move(beat)] {
        std::unique_lock lock(mutex_);
        do {
          lock.unlock();
          beat();
          lock.lock();
        } while (!stop_.wait_for(lock, interval, [this] { return stopped_; }));
      }) {}

Heartbeat::~Heartbeat() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

}  // namespace inferd::app
