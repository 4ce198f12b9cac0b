// grpc.reflection, v1 and v1alpha, over the generated descriptor pool.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <memory>
#include <string>
#include <vector>

#include "server/front_end.h"

namespace inferd {

// Answers for the named services and every file of the generated pool. `front` must
// outlive the gRPC server.
std::unique_ptr<grpc::Service> MakeReflectionV1(FrontEnd& front,
                                                std::vector<std::string> service_names);
std::unique_ptr<grpc::Service> MakeReflectionV1Alpha(FrontEnd& front,
                                                     std::vector<std::string> service_names);

}  // namespace inferd
