#include "server/health_service.h"

#include <utility>

#include "server/errors.h"
#include "server/grpc_status.h"

namespace inferd {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

HealthCheckResponse::ServingStatus StatusName(bool known, bool serving) {
  if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

// One open Watch: writes the state when it differs from what was written last.
// Deleted by OnDone. Its mutex is taken after the service's, never before.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& service, bool known) : service_(service), known_(known) {}

  void Push(bool serving) {
    std::lock_guard lock(mutex_);
    wanted_ = StatusName(known_, serving);
    Pump();
  }
  void End(const Status& status) {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    ending_ = true;
    status_ = status;
    Pump();
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    // Also when its end came while it wrote: nobody else would finish it.
    if (!ok && !ending_) {
      ending_ = true;
      status_ = ClientCancelledError();
    }
    Pump();
  }
  void OnCancel() override { End(ClientCancelledError()); }
  void OnDone() override {
    service_.Remove(this);
    delete this;
  }

 private:
  void Pump() {  // mutex_ held
    if (writing_ || finished_) return;
    if (ending_) {
      finished_ = true;
      Finish(ToGrpcStatus(status_));
    } else if (wanted_ != written_) {
      written_ = wanted_;
      response_.set_status(written_);
      writing_ = true;
      StartWrite(&response_);
    }
  }

  HealthService& service_;
  const bool known_;
  std::mutex mutex_;
  HealthCheckResponse response_;
  HealthCheckResponse::ServingStatus wanted_ = HealthCheckResponse::UNKNOWN;
  HealthCheckResponse::ServingStatus written_ = HealthCheckResponse::UNKNOWN;
  Status status_;
  bool writing_ = false;
  bool ending_ = false;
  bool finished_ = false;
};

HealthService::HealthService(std::vector<std::string> service_names)
    : names_(service_names.begin(), service_names.end()) {}

bool HealthService::Knows(const std::string& name) const {
  return name.empty() || names_.count(name) > 0;
}

void HealthService::SetServing(bool serving) {
  std::lock_guard lock(mutex_);
  if (serving_ == serving) return;
  serving_ = serving;
  for (Watcher* watcher : watchers_) watcher->Push(serving);
}

void HealthService::Shutdown() {
  std::lock_guard lock(mutex_);
  shutdown_ = true;
  for (Watcher* watcher : watchers_) watcher->End(DrainingError());
}

bool HealthService::Add(Watcher* watcher) {
  std::lock_guard lock(mutex_);
  if (shutdown_ || watchers_.size() >= kMaxWatchers) return false;
  watchers_.insert(watcher);
  watcher->Push(serving_);
  return true;
}

void HealthService::Remove(Watcher* watcher) {
  std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!Knows(request->service())) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "unknown service"));
    return reactor;
  }
  {
    std::lock_guard lock(mutex_);
    response->set_status(StatusName(/*known=*/true, serving_));
  }
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  auto* watcher = new Watcher(*this, Knows(request->service()));
  if (!Add(watcher)) watcher->End(QueueFullError("the list of health watchers"));
  return watcher;
}

}  // namespace inferd
