// The daemon's life: configuration, ports, model, engine, signals, drain.
#include "app/serve.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <utility>

#include "app/exit_codes.h"
#include "app/host_place.h"
#include "app/logging.h"
#include "app/model_loader.h"
#include "app/rank_options.h"
#include "app/reload.h"
#include "app/server_options.h"
#include "app/service_notifier.h"
#include "app/signals.h"
#include "app/small_file.h"
#include "app/step_watch.h"
#include "app/supervise.h"
#include "app/version.h"
#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/engine/engine.h"
#include "inferd/engine/replicated_engine.h"
#include "inferd/net/tls.h"
#include "inferd/server/server.h"

namespace inferd::app {
namespace {

// What a service manager is told while the model loads: that it may take longer, until
// loading has taken more than anybody's patience.
constexpr std::chrono::seconds kStartingInterval{15};
constexpr int kMaxStartingBeats = 480;

constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

void PrintErrors(const std::string& text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::fprintf(stderr, "inferd: %.*s\n", static_cast<int>(end - begin), text.data() + begin);
    begin = end + 1;
  }
}

void LogState(const Engine& engine, const Server& server, spdlog::logger& logger) {
  const EngineStats s = engine.Stats();
  logger.info(
      "state: live requests {}, running {}, waiting {}, blocks {}/{} used and {} cached, "
      "prompt tokens {}, generated tokens {}, preemptions {}",
      server.live_requests(), s.running, s.waiting, s.blocks_used, s.blocks_total, s.blocks_cached,
      s.prompt_tokens, s.generation_tokens, s.preemptions);
}

// No core file on whatever ends the process: memory holds prompts and answers. The hard
// limit stays, so that a debugger's user can raise it again (prlimit).
void DisableCoreDumps() {
  rlimit limit{};
  if (getrlimit(RLIMIT_CORE, &limit) != 0) return;
  limit.rlim_cur = 0;
  setrlimit(RLIMIT_CORE, &limit);
}

// The daemon after its configuration is known. The engine goes before the executor
// and the server it reports to; so members are in reverse.
class Daemon {
 public:
  Daemon(const ServeArguments& arguments, const std::vector<std::string>& environment,
         LoadedConfig loaded, HostPlace place, std::shared_ptr<const KeyRing> keys,
         std::shared_ptr<TlsServerContext> tls, std::string trace_authorities)
      : arguments_(arguments),
        environment_(environment),
        loaded_(std::move(loaded)),
        place_(std::move(place)),
        notifier_(environment),
        logging_(loaded_.config.log.level, loaded_.config.log.format, StderrSink()),
        keys_(std::move(keys)),
        tls_(std::move(tls)),
        trace_authorities_(std::move(trace_authorities)),
        reloader_(arguments_, environment_, loaded_, MakeReloadTargets(), logging_.logger()) {}

  int Run() {
    const int64_t start_us = clock_.NowUs();
    const SignalWatcher watcher({SIGTERM, SIGINT, SIGHUP, SIGUSR1},
                                [this](int signal) { OnSignal(signal); });
    logger().info("inferd {} starting", kVersion);
    if (keys_ != nullptr) {
      logger().info("{} API keys", keys_->size());
      if (keys_->size() == 0) logger().warn("without a key in the file nobody may ask anything");
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
    options.api_keys = std::move(keys_);
    options.tls = tls_;
    options.trace_authorities = trace_authorities_;
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
        LoadServedModel(config(), backends_, place_.remote, entropy_, clock_, logging_.logger());
    if (!model.ok()) {
      server_->Fail();
      return Fail(model.status());
    }
    executors_ = std::move(model->executors);
    if (RanksAreProcesses(config())) backends_.clear();  // every rank has its own
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
    malloc_trim(0);  // loading leaves much behind
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
      targets.reload_tls = [this] { return tls_->Reload(); };
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
  std::shared_ptr<const KeyRing> keys_;          // until the server has them
  const std::shared_ptr<TlsServerContext> tls_;  // null: plain
  const std::string trace_authorities_;          // PEM; empty: the system's
  std::atomic<Server*> reachable_{nullptr};      // once it has started
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

int DryRun(const ServerConfig& config) {
  const StatusOr<std::string> text = DescribeMemory(config);
  if (!text.ok()) {
    PrintErrors(text.status().ToString());
    return kExitFailure;
  }
  std::fputs(text->c_str(), stdout);
  return kExitOk;
}

// Null without TLS.
StatusOr<std::shared_ptr<TlsServerContext>> LoadTls(const ServerConfig& config) {
  const ServerConfig::Server& server = config.server;
  if (server.tls_certificate.empty()) return std::shared_ptr<TlsServerContext>();
  return TlsServerContext::Load({server.tls_certificate, server.tls_key, server.tls_client_ca});
}

}  // namespace

ConfigResult LoadServeConfig(const ServeArguments& arguments,
                             const std::vector<std::string>& environment) {
  ConfigResult result;
  ConfigLoader loader;
  const auto note = [&result](const Status& status, int exit_code) {
    if (status.ok()) return;
    if (result.exit_code == kExitOk) result.exit_code = exit_code;
    if (!result.errors.empty()) result.errors += '\n';
    result.errors += status.message();
  };
  if (!arguments.config_file.empty()) note(loader.ApplyFile(arguments.config_file), kExitConfig);
  note(loader.ApplyEnvironment(environment), kExitConfig);
  for (const KeyFlag& flag : arguments.flags) {
    note(loader.ApplyFlag(flag.key, flag.value, flag.flag), kExitUsage);
  }
  if (result.exit_code != kExitOk) return result;
  StatusOr<LoadedConfig> loaded = loader.Finish();
  note(loaded.ok() ? OkStatus() : loaded.status(), kExitConfig);
  if (loaded.ok()) result.loaded = std::move(*loaded);
  return result;
}

StatusOr<std::shared_ptr<const KeyRing>> LoadApiKeys(const ServerConfig& config) {
  if (config.server.api_keys_file.empty()) return std::shared_ptr<const KeyRing>();
  return KeyRing::Load(config.server.api_keys_file);
}

int RunServe(const ServeArguments& arguments, const std::vector<std::string>& environment) {
  ConfigResult result = LoadServeConfig(arguments, environment);
  const bool needs_model = arguments.mode != ServeMode::kPrintConfig;
  if (result.exit_code == kExitOk && needs_model && result.loaded.config.model.path.empty()) {
    result.exit_code = kExitConfig;
    result.errors = "model.path is not set: give --model DIR or a configuration file";
  }
  std::shared_ptr<const KeyRing> keys;
  if (result.exit_code == kExitOk && needs_model) {
    StatusOr<std::shared_ptr<const KeyRing>> loaded = LoadApiKeys(result.loaded.config);
    if (loaded.ok()) {
      keys = std::move(*loaded);
    } else {
      result.exit_code = kExitConfig;
      result.errors = loaded.status().message();
    }
  }
  std::string trace_authorities;
  if (result.exit_code == kExitOk && needs_model) {
    StatusOr<std::string> loaded = ReadSmallFile(result.loaded.config.tracing.otlp_ca);
    if (loaded.ok()) {
      trace_authorities = std::move(*loaded);
    } else {
      result.exit_code = kExitConfig;
      result.errors = "tracing.otlp_ca: " + loaded.status().message();
    }
  }
  std::shared_ptr<TlsServerContext> tls;
  if (result.exit_code == kExitOk && needs_model) {
    StatusOr<std::shared_ptr<TlsServerContext>> loaded = LoadTls(result.loaded.config);
    if (loaded.ok()) {
      tls = std::move(*loaded);
    } else {
      result.exit_code = kExitConfig;
      result.errors = loaded.status().message();
    }
  }
  if (result.exit_code != kExitOk) {
    PrintErrors(result.errors);
    return result.exit_code;
  }
  switch (arguments.mode) {
    case ServeMode::kCheckConfig:
      std::puts("the configuration is valid");
      return kExitOk;
    case ServeMode::kPrintConfig:
      std::fputs(PrintConfig(result.loaded).c_str(), stdout);
      return kExitOk;
    case ServeMode::kDryRun:
      return DryRun(result.loaded.config);
    case ServeMode::kRun:
      break;
  }
  StatusOr<HostPlace> place = FindHostPlace(result.loaded.config, environment);
  if (!place.ok()) {
    PrintErrors(place.status().message());
    return kExitConfig;
  }
  // Few arenas: idle memory stays near what is in use.
  mallopt(M_ARENA_MAX, 2);
  signal(SIGPIPE, SIG_IGN);
  BlockSignals(kSignals);  // before any thread exists
  if (!result.loaded.config.server.core_dumps) DisableCoreDumps();
  if (!place->leads()) return RunWorkerHost(result.loaded.config, *place);
  Daemon daemon(arguments, environment, std::move(result.loaded), std::move(*place),
                std::move(keys), std::move(tls), std::move(trace_authorities));
  return daemon.Run();
}

}  // namespace inferd::app
