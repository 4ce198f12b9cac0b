#include "server/unknown_service.h"

#include "server/grpc_status.h"
#include "server/rpc_context.h"

namespace inferd {
namespace {

class RefusingReactor final : public grpc::ServerGenericBidiReactor {
 public:
  explicit RefusingReactor(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerGenericBidiReactor* UnknownService::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  Status status = AuthenticateRpc(*context, front_).status();
  if (status.ok()) status = UnimplementedError("no such rpc");
  front_.metrics().RpcEnded(RpcMethod::kUnknownRpc, status);
  return new RefusingReactor(ToGrpcStatus(status));
}

}  // namespace inferd
