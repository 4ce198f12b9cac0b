#include "app/client.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "app/exit_codes.h"
#include "app/small_file.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/support/log.h"
#include "inferd/base/status.h"
#include "inferd/v1/services.grpc.pb.h"

namespace inferd::app {

namespace {

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientArguments& client) {
  if (!client.tls && client.tls_ca.empty() && client.tls_certificate.empty() &&
      client.tls_name.empty()) {
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions options;
  INFERD_ASSIGN_OR_RETURN(options.pem_root_certs, ReadSmallFile(client.tls_ca));
  INFERD_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadSmallFile(client.tls_certificate));
  INFERD_ASSIGN_OR_RETURN(options.pem_private_key, ReadSmallFile(client.tls_key));
  return grpc::SslCredentials(options);
}

struct Advice {
  std::string_view symptom;  // in gRPC's message
  std::string_view text;
};
// What a connection that never came about most often means.
constexpr Advice kAdvice[] = {
    {"wrong version number", "the port does not speak TLS: leave out --tls..."},
    {"certificate verify failed", "--tls-ca FILE names the authority to trust"},
    {"is not in peer certificate", "--tls-name NAME says what the certificate is for"},
    {"Connection reset", "if the port speaks TLS, add --tls or --tls-ca FILE"},
    {"Socket closed", "if the port speaks TLS, add --tls or --tls-ca FILE; is it the main port?"},
};

std::string_view AdviceFor(std::string_view message) {
  if (message.find("failed to connect") == std::string_view::npos) return {};
  for (const Advice& advice : kAdvice) {
    if (message.find(advice.symptom) != std::string_view::npos) return advice.text;
  }
  return {};
}

int FailClient(const Status& status) {
  std::fprintf(stderr, "inferd: %s\n", status.message().c_str());
  return kExitUsage;
}

}  // namespace

StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ClientArguments& client) {
  // What goes wrong is said once, by whoever calls, unless gRPC's own log is asked for.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  if (!client.tls_name.empty()) arguments.SetSslTargetNameOverride(client.tls_name);
  INFERD_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(client));
  return grpc::CreateCustomChannel(client.address, credentials, arguments);
}

Status ReadApiKey(ClientArguments* client) {
  if (client->api_key_file.empty()) {
    const char* key = std::getenv("INFERD_API_KEY");
    client->api_key = key == nullptr ? "" : key;
  } else {
    INFERD_ASSIGN_OR_RETURN(client->api_key, ReadSmallFile(client->api_key_file));
  }
  client->api_key.erase(client->api_key.find_last_not_of(" \r\n") + 1);
  const bool printable = std::all_of(client->api_key.begin(), client->api_key.end(),
                                     [](char c) { return c > 0x20 && c < 0x7F; });
  return printable ? OkStatus() : InvalidArgumentError("the API key has unprintable characters");
}

void Prepare(const ClientArguments& client, grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(client.timeout_ms));
  if (!client.api_key.empty()) context->AddMetadata("authorization", "Bearer " + client.api_key);
}

std::string Describe(const grpc::Status& status) {
  const auto code = static_cast<StatusCode>(status.error_code());
  std::string text = std::string(StatusCodeName(code)) + ": " + Printable(status.error_message());
  const std::string_view advice = AdviceFor(status.error_message());
  if (!advice.empty()) text.append(" (").append(advice).append(")");
  return text;
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
  const auto channel = MakeChannel(arguments.client);
  if (!channel.ok()) return FailClient(channel.status());
  const auto stub = grpc::health::v1::Health::NewStub(*channel);
  grpc::ClientContext context;
  Prepare(arguments.client, &context);
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

int RunModels(ClientArguments arguments) {
  const Status key = ReadApiKey(&arguments);
  if (!key.ok()) return FailClient(key);
  const auto channel = MakeChannel(arguments);
  if (!channel.ok()) return FailClient(channel.status());
  const auto stub = v1::ModelService::NewStub(*channel);
  grpc::ClientContext context;
  Prepare(arguments, &context);
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
