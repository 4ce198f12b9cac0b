#include "server/admin_service.h"

#include <grpcpp/server_builder.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "server/errors.h"
#include "server/grpc_status.h"
#include "server/rpc_context.h"

namespace inferd {
namespace {

constexpr int kDefaultListed = 1000;
constexpr int kMaxListed = 10'000;
constexpr int kMaxAdminMessageBytes = 64 << 10;
constexpr std::chrono::milliseconds kCloseTime{500};

v1::RequestState StateOf(LiveState state) {
  switch (state) {
    case LiveState::kPreparing:
      return v1::REQUEST_STATE_PREPARING;
    case LiveState::kWaiting:
      return v1::REQUEST_STATE_WAITING;
    case LiveState::kRunning:
      return v1::REQUEST_STATE_RUNNING;
  }
  return v1::REQUEST_STATE_UNSPECIFIED;
}

void Fill(const LiveRequest& request, int64_t now_us, v1::LiveRequest* out) {
  out->set_request_id(request.request_id);
  out->set_method(std::string(RpcMethodName(request.method)));
  out->set_state(StateOf(request.state));
  out->set_prompt_tokens(request.prompt_tokens);
  out->set_completion_tokens(request.completion_tokens);
  out->set_age_ms(std::max<int64_t>(0, now_us - request.arrival_us) / 1000);
  // A certificate's subject may hold any bytes; a proto string may not.
  out->set_tenant(EscapeForLog(request.tenant));
  out->set_key_id(request.key_id);
  out->set_trace_id(request.trace_id);
}

class AdminServiceImpl final : public v1::AdminService::CallbackService {
 public:
  AdminServiceImpl(FrontEnd& front, std::function<void()> start_draining, bool ask_for_key)
      : front_(front), start_draining_(std::move(start_draining)), ask_for_key_(ask_for_key) {}

  grpc::ServerUnaryReactor* ReloadConfig(grpc::CallbackServerContext* context,
                                         const v1::ReloadConfigRequest*,
                                         v1::ReloadConfigResponse* response) override {
    return Run(context, "ReloadConfig", [&]() -> Status {
      if (!front_.options().admin.reload) return UnimplementedError("no configuration to read");
      INFERD_ASSIGN_OR_RETURN(const ReloadReport report, front_.options().admin.reload());
      for (const std::string& change : report.applied) response->add_applied(change);
      for (const std::string& key : report.restart_required) response->add_restart_required(key);
      return OkStatus();
    });
  }

  grpc::ServerUnaryReactor* StartDraining(grpc::CallbackServerContext* context,
                                          const v1::StartDrainingRequest*,
                                          v1::StartDrainingResponse* response) override {
    return Run(context, "StartDraining", [&] {
      start_draining_();
      response->set_live_requests(static_cast<int64_t>(front_.accounting().Snapshot().live));
      return OkStatus();
    });
  }

  grpc::ServerUnaryReactor* AbortRequest(grpc::CallbackServerContext* context,
                                         const v1::AbortRequestRequest* request,
                                         v1::AbortRequestResponse* response) override {
    return Run(context, "AbortRequest", [&]() -> Status {
      int32_t aborted = 0;
      for (const auto& target : front_.router().Targets()) {
        if (target->Describe().request_id != request->request_id()) continue;
        target->Abort(AbortedByAdminError());
        ++aborted;
      }
      if (aborted == 0) return NotFoundError("no live request has this id");
      response->set_aborted(aborted);
      return OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListRequests(grpc::CallbackServerContext* context,
                                         const v1::ListRequestsRequest* request,
                                         v1::ListRequestsResponse* response) override {
    return Run(context, "ListRequests", [&]() -> Status {
      const int limit = request->has_limit() ? request->limit() : kDefaultListed;
      if (limit < 1 || limit > kMaxListed) return InvalidField("limit", "must be in [1, 10000]");
      std::vector<LiveRequest> live;
      for (const auto& target : front_.router().Targets()) live.push_back(target->Describe());
      std::sort(live.begin(), live.end(), [](const LiveRequest& a, const LiveRequest& b) {
        return a.arrival_us < b.arrival_us;
      });
      response->set_truncated(live.size() > static_cast<size_t>(limit));
      live.resize(std::min(live.size(), static_cast<size_t>(limit)));
      const int64_t now_us = front_.clock().NowUs();
      for (const LiveRequest& item : live) Fill(item, now_us, response->add_requests());
      return OkStatus();
    });
  }

  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* context,
                                        const v1::SetLogLevelRequest* request,
                                        v1::SetLogLevelResponse*) override {
    return Run(context, "SetLogLevel", [&]() -> Status {
      if (!front_.options().admin.set_log_level) return UnimplementedError("no log to set");
      return front_.options().admin.set_log_level(request->level());
    });
  }

 private:
  // Every rpc: who calls, the work, one line in the log.
  template <typename Work>
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, const char* name, Work work) {
    Principal principal;
    Status status;
    if (ask_for_key_) {
      StatusOr<Principal> admin = front_.authorizer().AuthenticateAdmin(KeysOf(*context));
      status = admin.status();
      if (admin.ok()) principal = *std::move(admin);
    }
    try {
      if (status.ok()) status = work();
    } catch (...) {  // out of memory, or a library's exception
      status = UnexpectedError();
    }
    front_.logger().info("admin: {} {} by {}", name, StatusCodeName(status.code()),
                         principal == nullptr ? EscapeForLog(context->peer()) : principal->id);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }

  FrontEnd& front_;
  const std::function<void()> start_draining_;
  const bool ask_for_key_;
};

// Files made meanwhile are for their owner alone. It is the whole process's, so: only
// while it starts.
class PrivateFiles {
 public:
  PrivateFiles() : before_(umask(0177)) {}
  ~PrivateFiles() { umask(before_); }
  PrivateFiles(const PrivateFiles&) = delete;
  PrivateFiles& operator=(const PrivateFiles&) = delete;

 private:
  const mode_t before_;
};

}  // namespace

StatusOr<std::unique_ptr<AdminPort>> AdminPort::Start(FrontEnd& front,
                                                      std::function<void()> start_draining) {
  const std::string& address = front.options().admin_address;
  const bool is_socket = address.rfind("unix:", 0) == 0;
  std::unique_ptr<AdminPort> admin(new AdminPort());
  admin->service_ = std::make_unique<AdminServiceImpl>(
      front, std::move(start_draining), /*ask_for_key=*/!is_socket && front.options().api_keys);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxAdminMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &admin->port_);
  builder.RegisterService(admin->service_.get());
  {
    const PrivateFiles mode;
    admin->server_ = builder.BuildAndStart();
  }
  if (admin->server_ == nullptr || admin->port_ <= 0) {
    return UnavailableError("cannot listen for the admin service on " + address +
                            ": the address is taken, wrong, or not of this machine");
  }
  return admin;
}

AdminPort::~AdminPort() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + kCloseTime);
  server_->Wait();
}

}  // namespace inferd
