// Counts gRPC's calls where gRPC offers it, for all services alike.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <set>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "server/grpc_call_metrics.h"

namespace inferd {

// One per gRPC server; makes an interceptor for each call. Thread-safe.
class GrpcCallInterceptorFactory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // `services`: full names of those whose methods may be labels. The others must
  // outlive the gRPC server.
  GrpcCallInterceptorFactory(const std::vector<std::string>& services, GrpcCallMetrics& metrics,
                             const Clock& clock);

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  std::set<std::string, std::less<>> methods_;  // "package.Service/Method"
  GrpcCallMetrics& metrics_;
  const Clock& clock_;
};

}  // namespace inferd
