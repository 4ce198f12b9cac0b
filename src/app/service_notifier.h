// What a service manager that listens on NOTIFY_SOCKET is told (sd_notify(3)), one
// datagram each and no library.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "inferd/base/unique_fd.h"

namespace inferd::app {

// Thread-safe. Without a socket every call does nothing; nothing ever waits, and a
// manager that does not listen is no error.
class ServiceNotifier {
 public:
  // `environment`: "NAME=value" entries, of which NOTIFY_SOCKET, WATCHDOG_USEC and
  // WATCHDOG_PID count.
  explicit ServiceNotifier(const std::vector<std::string>& environment);
  ServiceNotifier(const ServiceNotifier&) = delete;
  ServiceNotifier& operator=(const ServiceNotifier&) = delete;

  void Ready(std::string_view status) const;
  // Starting may take this much longer, from now on.
  void ExtendStart(std::chrono::microseconds time, std::string_view status) const;
  // Followed by Ready. `monotonic_us`: CLOCK_MONOTONIC.
  void Reloading(int64_t monotonic_us) const;
  void Stopping(std::string_view status) const;
  void Watchdog() const;

  bool active() const { return static_cast<bool>(socket_); }
  // How long Watchdog may stay away; 0: nobody waits for it.
  std::chrono::microseconds watchdog() const { return watchdog_; }

 private:
  void Send(const std::string& text) const;

  UniqueFd socket_;
  std::string address_;  // sockaddr_un
  std::chrono::microseconds watchdog_{0};
};

// Calls `beat` now and every `interval`, on a thread of its own, until its end.
class Heartbeat {
 public:
  Heartbeat(std::chrono::microseconds interval, std::function<void()> beat);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace inferd::app
