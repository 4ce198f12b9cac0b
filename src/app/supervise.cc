#include "app/supervise.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <thread>

#include "app/exit_codes.h"
#include "app/step_watch.h"
#include "inferd/base/bounded_queue.h"

namespace inferd::app {
namespace {

constexpr auto kEngineWatchInterval = std::chrono::milliseconds(250);
constexpr int64_t kFailureDrainMs = 2'000;

// What this process had from disk, its page faults included.
int64_t DiskBytes() {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? 512 * int64_t{usage.ru_inblock} : -1;
}

}  // namespace

int Supervise(Server& server, const Engine& engine, SignalQueue& signals,
              const SignalActions& actions, spdlog::logger& logger) {
  StepWatch watch(std::chrono::duration_cast<std::chrono::microseconds>(kEngineWatchInterval));
  for (;;) {
    const std::optional<int> signal = signals.PopFor(kEngineWatchInterval);
    if (!signal) {
      const EngineStats stats = engine.Stats();
      const bool hung = watch.Hung(stats, DiskBytes());
      if (!stats.dead() && !hung) continue;
      if (hung) {
        logger.critical("a step has not returned for {:.1f} s, where {:.1f} s would be long",
                        static_cast<double>(stats.step_waited_us) * 1e-6,
                        static_cast<double>(stats.step_limit_us) * 1e-6);
      }
      logger.critical("the engine failed; stopping");
      actions.stopping();
      server.Fail();
      server.Shutdown(kFailureDrainMs);
      return kExitEngineFailure;
    }
    switch (*signal) {
      case SIGTERM: {
        actions.stopping();
        const ServerConfig::Drain times = actions.drain_times();
        DrainServer(server, signals, times.delay_ms, times.timeout_ms, logger);
        return engine.Stats().dead() ? kExitEngineFailure : kExitOk;
      }
      case SIGINT:
        actions.stopping();
        logger.info("interrupted: stopping now, {} live", server.live_requests());
        server.Shutdown(0);
        return kExitOk;
      case SIGHUP:
        actions.reload();
        break;
      default:
        actions.log_state();
    }
  }
}

void TearDownWithin(std::chrono::milliseconds grace, Logging& logging,
                    const std::function<void()>& tear_down) {
  BoundedQueue<bool> done(1);
  std::thread watch([&] {
    if (done.PopFor(grace) || done.closed()) return;
    logging.logger()->critical(
        "the engine did not stop within {:.1f} s: a step hangs; ending the process",
        std::chrono::duration<double>(grace).count());
    logging.Close(kLastLinesTimeout);
    std::_Exit(kExitEngineFailure);
  });
  tear_down();
  done.Close();
  watch.join();
}

}  // namespace inferd::app
