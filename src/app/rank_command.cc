#include "app/rank_command.h"

#include <malloc.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <utility>

#include "app/exit_codes.h"
#include "app/rank_options.h"
#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/runtime/rank_process.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace inferd::app {
namespace {

// Lines as the daemon expects them: the level's letter, a bar, the text.
std::shared_ptr<spdlog::logger> MakeRankLogger() {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  sink->set_pattern("%L|%v");
  auto logger = std::make_shared<spdlog::logger>("rank", std::move(sink));
  logger->flush_on(spdlog::level::trace);
  return logger;
}

void DisableCoreDumps() {
  rlimit limit{};
  if (getrlimit(RLIMIT_CORE, &limit) != 0) return;
  limit.rlim_cur = 0;
  setrlimit(RLIMIT_CORE, &limit);
}

}  // namespace

int RunRank(int control_fd) {
  // Whoever stops the daemon may signal the whole group; the daemon ends its ranks when
  // it has drained.
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE}) signal(ignored, SIG_IGN);
  mallopt(M_ARENA_MAX, 2);
  const std::shared_ptr<spdlog::logger> logger = MakeRankLogger();
  SystemClock clock;
  SystemEntropy entropy;
  StatusOr<std::unique_ptr<RankProcess>> process =
      RankProcess::Join(control_fd, ProgramVersion(), entropy, clock);
  if (!process.ok()) {
    logger->error("{}", process.status().ToString());
    return kExitFailure;
  }
  StatusOr<RankPayload> payload = DecodeRankPayload((*process)->payload());
  if (payload.ok()) {
    logger->set_level(spdlog::level::from_str(payload->config.log.level));
    if (!payload->config.server.core_dumps) DisableCoreDumps();
  }
  std::unique_ptr<Backend> backend;  // outlives the rank, which the process owns
  bool loaded = false;
  const auto load = [&](const RankPlace& place,
                        const RankLinks& links) -> StatusOr<std::unique_ptr<Rank>> {
    INFERD_RETURN_IF_ERROR(payload.status());
    INFERD_ASSIGN_OR_RETURN(backend,
                            MakeBackend(payload->config, payload->first_rank + place.world_rank(),
                                        payload->ranks_here, logger));
    RankOptions options = MakeRankOptions(payload->config, *backend, /*replicas_left=*/1, logger);
    // What is available was shared out by the daemon, before other ranks took theirs.
    options.memory.available_bytes = 0;
    options.memory.num_blocks = payload->num_blocks;
    StatusOr<std::unique_ptr<Rank>> rank =
        LoadRank(options, place, links, backend->ops(), clock, logger);
    loaded = rank.ok();
    return rank;
  };
  const Status status = (*process)->Run(load);
  if (!status.ok()) {
    logger->error("{}", status.ToString());
    // Nothing is taken apart: what the rank has begun may never end, and its process must.
    std::_Exit(loaded ? kExitEngineFailure : kExitFailure);
  }
  process->reset();
  return kExitOk;
}

}  // namespace inferd::app
