#include "app/drain.h"

#include <chrono>
#include <csignal>
#include <optional>
#include <thread>

namespace inferd::app {
namespace {

using SteadyClock = std::chrono::steady_clock;

bool StopsNow(std::optional<int> signal) {
  return signal && (*signal == SIGTERM || *signal == SIGINT);
}

// True if a signal that stops at once came before `until`.
bool StopRequestedBefore(SignalQueue& signals, SteadyClock::time_point until) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(until - SteadyClock::now());
    if (left.count() <= 0) return false;
    const std::optional<int> signal = signals.PopFor(left);
    if (StopsNow(signal)) return true;
    if (!signal && signals.closed()) return false;
  }
}

}  // namespace

void DrainServer(Server& server, SignalQueue& signals, int64_t delay_ms, int64_t timeout_ms,
                 spdlog::logger& logger) {
  server.StartDraining();
  logger.info("draining: not ready; new requests are served for {} ms more, {} live", delay_ms,
              server.live_requests());
  if (StopRequestedBefore(signals, SteadyClock::now() + std::chrono::milliseconds(delay_ms))) {
    timeout_ms = 0;
  }
  // Shutdown waits, so a second thread does that while this one listens.
  BoundedQueue<bool> done(1);
  std::thread shutdown([&] {
    const bool clean = server.Shutdown(timeout_ms);
    bool value = clean;
    done.TryPush(std::move(value));
    done.Close();
  });
  bool cut = timeout_ms == 0;
  std::optional<bool> clean;
  while (!(clean = done.PopFor(std::chrono::milliseconds(20))) && !done.closed()) {
    if (!cut && StopsNow(signals.TryPop())) {
      logger.warn("a second signal: stopping now, {} live", server.live_requests());
      cut = true;
      server.Shutdown(0);
    }
  }
  shutdown.join();
  if (!clean) clean = done.TryPop();
  logger.info(clean.value_or(true) ? "stopped: every request was answered"
                                   : "stopped: some requests were cut off");
}

}  // namespace inferd::app
