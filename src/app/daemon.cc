#include "app/daemon.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "app/exit_codes.h"
#include "app/logging.h"
#include "app/model_loader.h"
#include "app/rank_options.h"
#include "app/reload.h"
#include "app/server_options.h"
#include "app/service_notifier.h"
#include "app/signals.h"
#include "app/step_watch.h"
#include "app/supervise.h"
#include "app/version.h"
#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/engine/engine.h"
#include "inferd/engine/replicated_engine.h"
#include "inferd/server/server.h"

namespace inferd::app {
namespace {

// What a service manager is told while the model loads: that it may take longer, until
// loading has taken more than anybody's patience.
constexpr std::chrono::seconds kStartingInterval{15};
constexpr int kMaxStartingBeats = 480;

void LogState(const Engine& engine, const Server& server, spdlog::logger& logger) {
  const EngineStats s = engine.Stats();
  logger.info(
      "state: live requests {}, running {}, waiting {}, blocks {}/{} used and {} cached, "
      "prompt tokens {}, generated tokens {}, preemptions {}",
      server.live_requests(), s.running, s.waiting, s.blocks_used, s.blocks_total, s.blocks_cached,
      s.prompt_tokens, s.generation_tokens, s.preemptions);
}

// The daemon after its configuration is known. The engine goes before the executor
// and the server it reports to; so members are in reverse.
class Daemon {
 public:
  Daemon(const ServeArguments& arguments, const std::vector<std::string>& environment,
         LoadedConfig loaded, HostPlace place, ServeFiles files)
      : arguments_(arguments),
        environment_(environment),
        loaded_(std::move(loaded)),
        place_(std::move(place)),
        notifier_(environment),
        logging_(loaded_.config.log.level, loaded_.config.log.format, StderrSink()),
        files_(std::move(files)),
        reloader_(arguments_, environment_, loaded_, MakeReloadTargets(), logging_.logger()) {}

  int Run() {
    const int64_t start_us = clock_.NowUs();
    const SignalWatcher watcher(kDaemonSignals, [this](int signal) { OnSignal(signal); });
    logger().info("inferd {} starting", kVersion);
    if (files_.keys != nullptr) {
      logger().info("{} API keys", files_.keys->size());
      if (files_.keys->size() == 0)
        logger().warn("without a key in the file nobody may ask anything");
    } else if (config().server.insecure_no_auth && config().server.tls_client_ca.empty()) {
      logger().warn("server.insecure_no_auth is set: whoever reaches the ports may use them");
    }
    auto starting =
        std::make_unique<Heartbeat>(kStartingInterval, [this, left = kMaxStartingBeats]() mutable {
          if (left-- > 0) notifier_.ExtendStart(2 * kStartingInterval, "loading the model");
        });
    // Before ports and memory are taken: does this machine have what it takes?
    StatusOr<std::vector<ReplicaBackends>> backends =
        MakeBackends(config(), place_.remote.num_hosts, logging_.logger());
    if (!backends.ok()) return Fail(backends.status());
    backends_ = std::move(*backends);
    ServerOptions options = MakeServerOptions(config());
    options.json_logs = logging_.json();
    options.api_keys = std::move(files_.keys);
    options.tls = files_.tls;
    options.trace_authorities = files_.trace_authorities;
    options.admin.reload = [this] { return Reload(); };
    options.admin.set_log_level = [this](const std::string& level) {
      return reloader_.SetLogLevel(level);
    };
    StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options, clock_, entropy_, logging_.logger());
    if (!server.ok()) return Fail(server.status());
    server_ = std::move(*server);
    reachable_.store(server_.get());
    logger().info("loading {}", config().model.path);

    StatusOr<LoadedModel> model =
        LoadServedModel(config(), &backends_, place_.remote, entropy_, clock_, logging_.logger());
    if (!model.ok()) {
      server_->Fail();
      return Fail(model.status());
    }
    executors_ = std::move(model->executors);
    const double load_seconds = static_cast<double>(clock_.NowUs() - start_us) * 1e-6;
    model->served.load_seconds = load_seconds;
    const std::string summary = model->served.id + ": " + model->served.architecture + ", " +
                                model->served.dtype + ", " + model->served.device;
    const int32_t context = model->served.max_model_len;
    int64_t cache_tokens = 0;
    for (const auto& executor : executors_) {
      cache_tokens += executor->info().memory.KvTokens(config().engine.block_size);
    }
    engine_ = StartEngines(context);
    server_->Attach(std::move(model->served), *engine_);
    logger().info("ready after {:.3f} s: {}; context {} tokens, KV cache {} tokens", load_seconds,
                  summary, context, cache_tokens);
    starting.reset();
    loading_.store(false);
    ready_.store(true);
    engine_->SetQueueLimits(reloader_.queue_limits());  // of a reload until now
    notifier_.Ready(summary);
    return Serve();
  }

 private:
  const ServerConfig& config() const { return loaded_.config; }
  spdlog::logger& logger() { return *logging_.logger(); }

  // One for each replica, and what makes one of them.
  std::unique_ptr<Engine> StartEngines(int32_t max_model_len) {
    std::vector<std::unique_ptr<Engine>> engines;
    RouterOptions router;
    router.block_size = config().engine.block_size;
    for (const std::unique_ptr<LocalExecutor>& executor : executors_) {
      const int32_t num_blocks = executor->info().memory.num_blocks;
      if (config().engine.prefix_caching) router.max_blocks += num_blocks;
      engines.push_back(StartEngine(MakeEngineOptions(config(), num_blocks, max_model_len),
                                    *executor, server_->sink(), clock_, entropy_,
                                    logging_.logger()));
    }
    if (engines.size() == 1) return std::move(engines.front());
    return MakeReplicatedEngine(std::move(engines), router, entropy_);
  }

  // On the watcher's thread. While the model is being read there is nobody to drain, and
  // nothing that could be asked to stop reading.
  void OnSignal(int signal) {
    if (loading_.load() && (signal == SIGTERM || signal == SIGINT)) {
      logger().info("stopped while loading");
      logging_.Close(kLastLinesTimeout);
      std::_Exit(kExitOk);
    }
    signals_.TryPush(std::move(signal));
  }

  int Fail(const Status& status) {
    logger().critical("{}", status.ToString());
    return kExitFailure;
  }

  ReloadTargets MakeReloadTargets() {
    ReloadTargets targets;
    targets.set_log_level = [this](const std::string& level) { logging_.SetLevel(level); };
    targets.set_api_keys = [this](std::shared_ptr<const KeyRing> keys) {
      reachable_.load()->SetApiKeys(std::move(keys));
    };
    targets.set_queue_limits = [this](const QueueLimits& limits) {
      if (ready_.load()) engine_->SetQueueLimits(limits);
    };
    if (!config().server.tls_certificate.empty()) {
      targets.reload_tls = [this] { return files_.tls->Reload(); };
    }
    return targets;
  }

  // By SIGHUP or the admin service, on their threads.
  StatusOr<ReloadReport> Reload() {
    Server* const server = reachable_.load();
    if (server == nullptr) return UnavailableError("still starting");
    if (ready_.load()) notifier_.Reloading(clock_.NowUs());
    StatusOr<ReloadReport> report = reloader_.Reload();
    server->ReportReload(report.ok());
    if (ready_.load()) notifier_.Ready(report.ok() ? "serving" : "serving; the last reload failed");
    return report;
  }

  // Tells the service manager that the engine gets on: it is alive, and no step has
  // taken half of what the manager waits.
  void BeatIfEngineMoves() {
    if (EngineMoves(engine_->Stats(), notifier_.watchdog() / 2)) notifier_.Watchdog();
  }

  // Until a signal or the engine ends it.
  int Serve() {
    std::unique_ptr<Heartbeat> watchdog;
    if (notifier_.watchdog().count() > 0) {
      watchdog =
          std::make_unique<Heartbeat>(notifier_.watchdog() / 4, [this] { BeatIfEngineMoves(); });
    }
    SignalActions actions;
    actions.reload = [this] { (void)Reload(); };  // says what is wrong itself
    actions.log_state = [this] { LogState(*engine_, *server_, logger()); };
    actions.stopping = [this] {
      ready_.store(false);
      notifier_.Stopping("finishing what runs");
    };
    actions.drain_times = [this] { return reloader_.drain(); };
    const int exit_code = Supervise(*server_, *engine_, signals_, actions, logger());
    watchdog.reset();
    TearDownWithin(std::chrono::milliseconds(reloader_.drain().grace_ms), logging_, [this] {
      engine_.reset();
      executors_.clear();
      backends_.clear();
      server_.reset();
    });
    return exit_code;
  }

  const ServeArguments& arguments_;
  const std::vector<std::string>& environment_;
  const LoadedConfig loaded_;  // as it began
  const HostPlace place_;
  const ServiceNotifier notifier_;
  Logging logging_;
  ServeFiles files_;                         // the keys until the server has them
  std::atomic<Server*> reachable_{nullptr};  // once it has started
  std::atomic<bool> loading_{true};
  std::atomic<bool> ready_{false};
  Reloader reloader_;
  SystemClock clock_;
  SystemEntropy entropy_;
  SignalQueue signals_{64};
  std::unique_ptr<Server> server_;
  std::vector<ReplicaBackends> backends_;
  std::vector<std::unique_ptr<LocalExecutor>> executors_;  // by replica
  std::unique_ptr<Engine> engine_;
};

}  // namespace

int RunDaemon(const ServeArguments& arguments, const std::vector<std::string>& environment,
              LoadedConfig loaded, HostPlace place, ServeFiles files) {
  return Daemon(arguments, environment, std::move(loaded), std::move(place), std::move(files))
      .Run();
}

}  // namespace inferd::app
