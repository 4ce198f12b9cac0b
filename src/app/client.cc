#include "app/client.h"

#include <cstdio>

#include "app/exit_codes.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "inferd/base/status.h"
#include "inferd/v1/services.grpc.pb.h"

namespace inferd::app {

std::shared_ptr<grpc::Channel> MakeChannel(const ClientArguments& client) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return grpc::CreateCustomChannel(client.address, grpc::InsecureChannelCredentials(), arguments);
}

std::chrono::system_clock::time_point Deadline(const ClientArguments& client) {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(client.timeout_ms);
}

std::string Describe(const grpc::Status& status) {
  const auto code = static_cast<StatusCode>(status.error_code());
  return std::string(StatusCodeName(code)) + ": " + Printable(status.error_message());
}

std::string Printable(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are controls too (C2 80 to C2 9F).
    const bool c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) {
      ++i;
    } else if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t') {
      out += text[i];
    }
  }
  return out;
}

int RunHealth(const HealthArguments& arguments) {
  const auto stub = grpc::health::v1::Health::NewStub(MakeChannel(arguments.client));
  grpc::ClientContext context;
  context.set_deadline(Deadline(arguments.client));
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(arguments.service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "inferd: %s: %s\n", arguments.client.address.c_str(),
                 Describe(status).c_str());
    return kExitFailure;
  }
  using Response = grpc::health::v1::HealthCheckResponse;
  std::printf("%s\n", Response::ServingStatus_Name(response.status()).c_str());
  return response.status() == Response::SERVING ? kExitOk : kExitFailure;
}

int RunModels(const ClientArguments& arguments) {
  const auto stub = v1::ModelService::NewStub(MakeChannel(arguments));
  grpc::ClientContext context;
  context.set_deadline(Deadline(arguments));
  v1::ListModelsResponse response;
  const grpc::Status status = stub->ListModels(&context, v1::ListModelsRequest(), &response);
  if (!status.ok()) {
    std::fprintf(stderr, "inferd: %s: %s\n", arguments.address.c_str(), Describe(status).c_str());
    return kExitFailure;
  }
  for (const v1::Model& model : response.models()) {
    std::printf("%s\t%s\t%s\tcontext %d\n", Printable(model.id()).c_str(),
                Printable(model.architecture()).c_str(), Printable(model.dtype()).c_str(),
                model.max_model_len());
  }
  return kExitOk;
}

}  // namespace inferd::app
