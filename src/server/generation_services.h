// ChatService and CompletionService over gRPC. The handlers run on gRPC's
// threads and only validate; the rest happens in GenerationCall.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <memory>

#include "server/front_end.h"

namespace inferd {

// Both must outlive the gRPC server that the service is registered with.
std::unique_ptr<grpc::Service> MakeChatService(FrontEnd& front);
std::unique_ptr<grpc::Service> MakeCompletionService(FrontEnd& front);

}  // namespace inferd
