// What the handlers read from and write to a gRPC call.
#pragma once

#include <grpcpp/server_context.h>

#include "server/access_log.h"
#include "server/authorizer.h"
#include "server/client_stream.h"
#include "server/front_end.h"

namespace inferd {

// The keys that the call brought; valid as long as `context`.
Credentials KeysOf(const grpc::CallbackServerContext& context);
// Who calls, or UNAUTHENTICATED. Every rpc but health begins with this.
StatusOr<Principal> AuthenticateRpc(const grpc::CallbackServerContext& context, FrontEnd& front);

// Caller's rights, id (its own x-request-id when valid, else a random one), trace, peer.
CallerInfo ReadCaller(RpcMethod method, const grpc::CallbackServerContext& context,
                      FrontEnd& front);

// The rpc's deadline as Clock::NowUs, at most the server's maximum; the default
// when the client set none.
int64_t DeadlineUs(const grpc::CallbackServerContext& context, const FrontEnd& front);

// Initial metadata of a successful answer; before its first message. Errors carry
// none, so that they stay one frame and clients may retry them.
void AddAnswerMetadata(const CallerInfo& caller, const FrontEnd& front,
                       grpc::CallbackServerContext* context);
// Trailing metadata; before Finish. `answered`: AddAnswerMetadata was called.
void AddTrailers(const CallerInfo& caller, const Status& status, const CallSummary& summary,
                 bool answered, grpc::CallbackServerContext* context);

}  // namespace inferd
