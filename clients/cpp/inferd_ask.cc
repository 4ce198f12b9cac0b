// Asks a running inferd one question and prints the answer as it comes.
//
//   inferd_ask ADDRESS QUESTION [MOST_CHUNKS]
//
// With MOST_CHUNKS it stops listening after that many and cancels the call, so that the
// daemon stops computing. INFERD_API_KEY is sent as the key if it is set. INFERD_TLS_CA, the
// file (PEM) of the authority to trust, makes it speak TLS. Exit code: gRPC's status code of
// the call (0: the whole answer came), 64 for bad arguments.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "inferd/v1/chat.grpc.pb.h"

namespace {

constexpr auto kDeadline = std::chrono::minutes(2);

// Retries of calls that have not been answered yet; the daemon says when to come again.
constexpr char kServiceConfig[] = R"({"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]})";

std::shared_ptr<grpc::ChannelCredentials> Credentials() {
  const char* path = std::getenv("INFERD_TLS_CA");
  if (path == nullptr || *path == '\0') return grpc::InsecureChannelCredentials();
  std::ifstream file(path);
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  if (tls.pem_root_certs.empty()) {
    std::fprintf(stderr, "inferd_ask: %s cannot be read\n", path);
    return nullptr;
  }
  return grpc::SslCredentials(tls);
}

int Ask(const std::string& address, const std::string& question, long most_chunks) {
  const auto credentials = Credentials();
  if (credentials == nullptr) return 64;
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  const auto channel = grpc::CreateCustomChannel(address, credentials, arguments);
  const auto chat = inferd::v1::ChatService::NewStub(channel);

  inferd::v1::ChatCompletionRequest request;
  request.set_temperature(0);
  request.set_max_completion_tokens(128);
  auto* message = request.add_messages();
  message->set_role(inferd::v1::ROLE_USER);
  message->add_content()->set_text(question);

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  if (const char* key = std::getenv("INFERD_API_KEY"); key != nullptr && *key != '\0') {
    context.AddMetadata("authorization", std::string("Bearer ") + key);
  }

  const auto stream = chat->StreamChatCompletion(&context, request);
  inferd::v1::ChatCompletionChunk chunk;
  long chunks = 0;
  while (stream->Read(&chunk)) {
    for (const auto& choice : chunk.choices()) {
      std::fputs(choice.delta().content().c_str(), stdout);
    }
    std::fflush(stdout);
    if (chunk.has_usage()) {
      std::fprintf(stderr, "\n%d tokens\n", chunk.usage().completion_tokens());
    }
    if (most_chunks > 0 && ++chunks == most_chunks) context.TryCancel();
  }
  const grpc::Status status = stream->Finish();
  std::fputc('\n', stdout);
  if (!status.ok()) {
    std::fprintf(stderr, "inferd_ask: %s (code %d)\n", status.error_message().c_str(),
                 status.error_code());
  }
  return status.error_code();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: inferd_ask ADDRESS QUESTION [MOST_CHUNKS]\n");
    return 64;
  }
  return Ask(argv[1], argv[2], argc == 4 ? std::atol(argv[3]) : 0);
}
