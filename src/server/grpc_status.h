// inferd::Status to gRPC, by one rule for all rpcs. Any thread.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "inferd/base/status.h"

namespace inferd {

// The gRPC status with google.rpc details: ErrorInfo (domain "inferd") from the
// reason, BadRequest from the field, RetryInfo, ResourceInfo. Stays below 8 KiB.
grpc::Status ToGrpcStatus(const Status& status);

// Adds grpc-retry-pushback-ms when the status says that a retry may help. Before
// Finish, on the context of the same call.
void AddRetryTrailer(const Status& status, grpc::CallbackServerContext* context);

}  // namespace inferd
