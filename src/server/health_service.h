#pragma once

#include <grpc/health/v1/health.grpc.pb.h>

#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

namespace inferd {

// grpc.health.v1: Check and Watch, for "" and every service name; all of them
// share one state, NOT_SERVING until told otherwise. Thread-safe.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  explicit HealthService(std::vector<std::string> service_names);

  // Pushes to every watcher when it changed.
  void SetServing(bool serving);
  // Ends all watchers; later ones end at once. Before the gRPC server shuts down.
  void Shutdown();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  bool Knows(const std::string& name) const;
  // False when there are too many, or the service is shutting down.
  bool Add(Watcher* watcher);
  void Remove(Watcher* watcher);

  static constexpr size_t kMaxWatchers = 1024;
  const std::unordered_set<std::string> names_;
  std::mutex mutex_;
  bool serving_ = false;                   // guarded by mutex_
  bool shutdown_ = false;                  // guarded by mutex_
  std::unordered_set<Watcher*> watchers_;  // guarded by mutex_
};

}  // namespace inferd
