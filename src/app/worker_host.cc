// A host that does not lead.
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>

#include "app/exit_codes.h"
#include "app/host_place.h"
#include "app/logging.h"
#include "app/rank_options.h"
#include "app/signals.h"
#include "inferd/base/clock.h"
#include "inferd/base/unique_fd.h"
#include "inferd/runtime/remote_worker.h"

namespace inferd::app {

int RunWorkerHost(const ServerConfig& config, const HostPlace& place) {
  const Logging logging(config.log.level, config.log.format, StderrSink());
  spdlog::logger& logger = *logging.logger();
  const UniqueFd stop_event(eventfd(0, EFD_CLOEXEC));
  const int stop_fd = stop_event.get();
  const SignalWatcher watcher({SIGTERM, SIGINT, SIGHUP, SIGUSR1}, [stop_fd](int signal) {
    const uint64_t one = 1;
    if (signal == SIGTERM || signal == SIGINT) (void)!write(stop_fd, &one, sizeof(one));
  });
  RemoteWorkerOptions options;
  options.command = {"/proc/self/exe", "rank"};
  options.remote = place.remote;
  options.shape = ShapeOnHosts(config, place.remote.num_hosts);
  options.host = place.index;
  options.own_host = place.own_host;
  options.last_backoff_us = config.parallel.max_backoff_ms * 1000;
  logger.info("inferd {} starting: host {} of {} on {}, for the leader {} port {}",
              ProgramVersion(), place.index, place.remote.num_hosts, place.own_host,
              place.remote.leader, place.remote.port);
  SystemClock clock;
  const Status status = RunRemoteRanks(options, stop_fd, clock, logging.logger());
  if (status.ok()) {
    logger.info("stopped");
  } else {
    logger.critical("{}", status.ToString());
  }
  return status.ok() ? kExitOk : kExitFailure;
}

}  // namespace inferd::app
