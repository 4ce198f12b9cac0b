#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include "server/front_end.h"

namespace inferd {

// Answers the rpcs that no service has: UNIMPLEMENTED, and that only to those who may
// ask. Thread-safe.
class UnknownService final : public grpc::CallbackGenericService {
 public:
  // `front` must outlive the gRPC server that this is registered with.
  explicit UnknownService(FrontEnd& front) : front_(front) {}

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

  FrontEnd& front_;
};

}  // namespace inferd
