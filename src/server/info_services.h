// ModelService, ServerService and TokenizerService over gRPC.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <memory>

#include "server/front_end.h"
#include "server/load_sampler.h"

namespace inferd {

// All arguments must outlive the gRPC server.
std::unique_ptr<grpc::Service> MakeModelService(FrontEnd& front);
std::unique_ptr<grpc::Service> MakeServerService(FrontEnd& front, const LoadSampler& load);
std::unique_ptr<grpc::Service> MakeTokenizerService(FrontEnd& front);

}  // namespace inferd
