#include <grpc/grpc.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "inferd/server/server.h"
#include "server/admin_service.h"
#include "server/errors.h"
#include "server/front_end.h"
#include "server/generation_services.h"
#include "server/grpc_call_interceptor.h"
#include "server/health_service.h"
#include "server/http_api.h"
#include "server/info_services.h"
#include "server/load_sampler.h"
#include "server/ports.h"
#include "server/reflection_service.h"
#include "server/unknown_service.h"

namespace inferd {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{100};
// What gRPC gets to send the last messages of ended calls.
constexpr int64_t kCloseMs = 2'000;
// What streams that never end by themselves (reflection) may delay that.
constexpr int64_t kLeaveMs = 500;
constexpr int kMaxMetadataBytes = 16 << 10;

std::vector<std::string> PublicServices() {
  return {"inferd.v1.ChatService", "inferd.v1.CompletionService", "inferd.v1.ModelService",
          "inferd.v1.TokenizerService", "inferd.v1.ServerService"};
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, const Clock& clock, EntropySource& entropy,
             std::shared_ptr<spdlog::logger> logger)
      : front_(options, clock, entropy, std::move(logger)),
        ports_(front_.options(), clock, front_.shared_logger()),
        health_(PublicServices()) {}

  ~ServerImpl() override { Shutdown(0); }

  Status Listen() {
    // Held for ever: the end of the library waits up to 10 s for a poller of its own.
    grpc_init();
    INFERD_RETURN_IF_ERROR(StartGrpc());
    INFERD_RETURN_IF_ERROR(ports_.Open(
        api_, [this](int fd) { AcceptHttp2(fd); }, front_.options().tls));
    front_.metrics().SetListenerStats([this] { return ports_.Stats(); });
    if (!front_.options().admin_address.empty()) {
      INFERD_ASSIGN_OR_RETURN(admin_, AdminPort::Start(front_, [this] { StartDraining(); }));
    }
    ticker_ = std::thread([this] { RunTicker(); });
    front_.logger().info("listening: gRPC port {}, HTTP port {}", grpc_port(), http_port());
    return OkStatus();
  }

  OutputSink& sink() override { return front_.router(); }

  void Attach(ServedModel model, Engine& engine) override {
    front_.Attach(std::move(model), engine);
    std::lock_guard lock(mutex_);
    engine_ = &engine;
    // An operator, or the end of the process, may have been quicker.
    if (front_.state() != ServerState::kLoading) return;
    front_.SetState(ServerState::kReady);
    health_.SetServing(true);
  }

  void Fail() override {
    std::lock_guard lock(mutex_);
    front_.SetState(ServerState::kFailed);
    health_.SetServing(false);
  }

  void SetApiKeys(std::shared_ptr<const KeyRing> keys) override {
    front_.authorizer().SetKeys(std::move(keys));
  }

  void ReportReload(bool successful) override { front_.metrics().ConfigReloaded(successful); }

  void StartDraining() override {
    std::lock_guard lock(mutex_);
    if (front_.state() != ServerState::kFailed) front_.SetState(ServerState::kDraining);
    health_.SetServing(false);
  }

  bool Shutdown(int64_t timeout_ms) override {
    // Whoever sets the earliest end counts, also while another thread waits below.
    const SteadyClock::time_point end =
        SteadyClock::now() + std::chrono::milliseconds(std::max<int64_t>(timeout_ms, 0));
    SteadyClock::time_point known = shutdown_end_.load();
    while (end < known && !shutdown_end_.compare_exchange_weak(known, end)) {
    }
    std::lock_guard shutdown_lock(shutdown_mutex_);
    if (shut_down_) return true;
    shut_down_ = true;
    StartDraining();
    front_.accounting().Close();
    const bool all_done = WaitIdleUntilEnd();
    if (!all_done) front_.router().AbortAll(DrainingError());
    // Requests between admission and registration end at their next step.
    front_.accounting().WaitIdle(std::chrono::milliseconds(kCloseMs));
    StopTicker();
    health_.Shutdown();
    ports_.StopAccepting();
    {
      std::lock_guard lock(acceptor_mutex_);
      acceptor_.reset();
    }
    // Connections leave once they have no stream. A call that gRPC gets after this
    // would end with CANCELLED, which no client tries again.
    ports_.AwaitIdle(kLeaveMs);
    if (grpc_) {
      grpc_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(kCloseMs));
      grpc_->Wait();
    }
    ports_.Close(kCloseMs);
    admin_.reset();
    if (front_.tracer() != nullptr) front_.tracer()->Flush(kCloseMs);
    front_.metrics().SetListenerStats(nullptr);
    front_.metrics().DetachEngine();
    return all_done;
  }

  ServerState state() const override { return front_.state(); }
  int grpc_port() const override { return ports_.main_port(); }
  int http_port() const override { return ports_.side_port(); }
  int admin_port() const override { return admin_ ? admin_->port() : 0; }
  int64_t live_requests() const override {
    return static_cast<int64_t>(const_cast<FrontEnd&>(front_).accounting().Snapshot().live);
  }

 private:
  Status StartGrpc();
  void AcceptHttp2(int fd);
  void RunTicker();
  void StopTicker();
  // Waits until nothing is live; false when shutdown_end_ came first.
  bool WaitIdleUntilEnd() {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(shutdown_end_.load() -
                                                                              SteadyClock::now());
      const auto wait = std::clamp(left, std::chrono::milliseconds(0), kTick);
      if (front_.accounting().WaitIdle(wait)) return true;
      if (left.count() <= 0) return false;
    }
  }

  FrontEnd front_;
  HttpApi api_{front_};
  Ports ports_;
  LoadSampler load_;
  HealthService health_;
  UnknownService unknown_{front_};
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<AdminPort> admin_;
  std::mutex acceptor_mutex_;
  // Guarded by acceptor_mutex_; null before gRPC runs and from its shutdown on.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;

  std::atomic<SteadyClock::time_point> shutdown_end_{SteadyClock::time_point::max()};
  std::mutex shutdown_mutex_;
  bool shut_down_ = false;  // guarded by shutdown_mutex_

  std::mutex mutex_;
  std::condition_variable stop_;
  Engine* engine_ = nullptr;  // guarded by mutex_
  bool stop_ticker_ = false;  // guarded by mutex_
  std::thread ticker_;
};

Status ServerImpl::StartGrpc() {
  const ServerOptions& options = front_.options();
  const auto milliseconds = [](int64_t ms) {
    return static_cast<int>(std::clamp<int64_t>(ms, 1, INT32_MAX));
  };
  grpc::EnableDefaultHealthCheckService(false);  // health_ serves instead
  grpc::ServerBuilder builder;
  // Connections come from the listener, which has looked at them and, with TLS, holds
  // the keys.
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(milliseconds(options.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive_time_ms));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             milliseconds(options.keepalive_timeout_ms));
  // Well-meaning clients ping during long prefills.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  if (options.max_connection_age_ms > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               milliseconds(options.max_connection_age_ms));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                               milliseconds(options.limits.max_deadline_ms));
  }
  services_.push_back(MakeChatService(front_));
  services_.push_back(MakeCompletionService(front_));
  services_.push_back(MakeModelService(front_));
  services_.push_back(MakeTokenizerService(front_));
  services_.push_back(MakeServerService(front_, load_));
  std::vector<std::string> names = PublicServices();
  names.insert(names.end(), {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                             "grpc.reflection.v1alpha.ServerReflection"});
  if (options.reflection) {
    services_.push_back(MakeReflectionV1(front_, names));
    services_.push_back(MakeReflectionV1Alpha(front_, names));
  }
  for (const auto& service : services_) builder.RegisterService(service.get());
  builder.RegisterService(&health_);
  builder.RegisterCallbackGenericService(&unknown_);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<GrpcCallInterceptorFactory>(
      names, front_.metrics().grpc_calls(), front_.clock()));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr) return InternalError("gRPC does not start");
  return OkStatus();
}

void ServerImpl::AcceptHttp2(int fd) {
  std::lock_guard lock(acceptor_mutex_);
  if (acceptor_ == nullptr) {  // gRPC would leave it open
    close(fd);
    return;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = -1;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
}

// Slow duties: silent streams, the engine's health, load samples.
void ServerImpl::RunTicker() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kTick, [this] { return stop_ticker_; })) {
    const int64_t now_us = front_.clock().NowUs();
    if (engine_ != nullptr) {
      const EngineStats stats = engine_->Stats();
      load_.Sample(now_us, stats);
      if (stats.dead()) front_.EngineDied();
    }
    health_.SetServing(front_.serving());
    lock.unlock();
    front_.streams().CheckAll(now_us);
    lock.lock();
  }
}

void ServerImpl::StopTicker() {
  {
    std::lock_guard lock(mutex_);
    stop_ticker_ = true;
  }
  stop_.notify_all();
  if (ticker_.joinable()) ticker_.join();
}

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, const Clock& clock,
                                                EntropySource& entropy,
                                                std::shared_ptr<spdlog::logger> logger) {
  try {
    auto server = std::make_unique<ServerImpl>(options, clock, entropy, std::move(logger));
    INFERD_RETURN_IF_ERROR(server->Listen());
    return std::unique_ptr<Server>(std::move(server));
  } catch (const std::exception& error) {
    return InternalError(std::string("cannot start the server: ") + error.what());
  }
}

}  // namespace inferd
