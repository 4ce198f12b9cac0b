#include "app/admin_command.h"

#include <cstdio>
#include <memory>
#include <string>

#include "app/client.h"
#include "app/exit_codes.h"
#include "inferd/v1/admin.grpc.pb.h"

namespace inferd::app {
namespace {

void PrintLine(const std::string& text) { std::printf("%s\n", Printable(text).c_str()); }

grpc::Status Reload(v1::AdminService::Stub& stub, grpc::ClientContext* context) {
  v1::ReloadConfigResponse response;
  const grpc::Status status = stub.ReloadConfig(context, {}, &response);
  for (const std::string& change : response.applied()) PrintLine("applied: " + change);
  for (const std::string& key : response.restart_required()) PrintLine("needs a restart: " + key);
  return status;
}

std::string StateName(v1::RequestState state) {
  switch (state) {
    case v1::REQUEST_STATE_PREPARING:
      return "preparing";
    case v1::REQUEST_STATE_WAITING:
      return "waiting";
    case v1::REQUEST_STATE_RUNNING:
      return "running";
    default:
      return "-";
  }
}

grpc::Status List(v1::AdminService::Stub& stub, grpc::ClientContext* context) {
  v1::ListRequestsResponse response;
  const grpc::Status status = stub.ListRequests(context, {}, &response);
  for (const v1::LiveRequest& r : response.requests()) {
    PrintLine(r.request_id() + "\t" + StateName(r.state()) + "\t" + std::to_string(r.age_ms()) +
              " ms\t" + std::to_string(r.prompt_tokens()) + "+" +
              std::to_string(r.completion_tokens()) + " tokens\t" + r.method() + "\t" +
              (r.tenant().empty() ? "-" : r.tenant()));
  }
  if (response.truncated()) PrintLine("... and more");
  return status;
}

grpc::Status Call(const AdminArguments& arguments, v1::AdminService::Stub& stub,
                  grpc::ClientContext* context) {
  if (arguments.action == "reload") return Reload(stub, context);
  if (arguments.action == "requests") return List(stub, context);
  if (arguments.action == "drain") {
    v1::StartDrainingResponse response;
    const grpc::Status status = stub.StartDraining(context, {}, &response);
    if (status.ok()) PrintLine(std::to_string(response.live_requests()) + " live");
    return status;
  }
  if (arguments.action == "abort") {
    v1::AbortRequestRequest request;
    request.set_request_id(arguments.value);
    v1::AbortRequestResponse response;
    const grpc::Status status = stub.AbortRequest(context, request, &response);
    if (status.ok()) PrintLine(std::to_string(response.aborted()) + " aborted");
    return status;
  }
  v1::SetLogLevelRequest request;
  request.set_level(arguments.value);
  v1::SetLogLevelResponse response;
  return stub.SetLogLevel(context, request, &response);
}

}  // namespace

int RunAdmin(AdminArguments arguments) {
  const Status key = ReadApiKey(&arguments.client);
  const auto channel = MakeChannel(arguments.client);
  if (!key.ok() || !channel.ok()) {
    std::fprintf(stderr, "inferd: %s\n", (key.ok() ? channel.status() : key).message().c_str());
    return kExitUsage;
  }
  const auto stub = v1::AdminService::NewStub(*channel);
  grpc::ClientContext context;
  Prepare(arguments.client, &context);
  const grpc::Status status = Call(arguments, *stub, &context);
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "inferd: %s: %s\n", arguments.client.address.c_str(),
               Describe(status).c_str());
  return kExitFailure;
}

}  // namespace inferd::app
