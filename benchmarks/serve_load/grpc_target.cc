#include "serve_load/grpc_target.h"

#include <grpcpp/grpcpp.h>

#include <string>
#include <utility>

#include "inferd/v1/services.grpc.pb.h"

namespace inferd::bench {
namespace {

void ShowKey(const LoadOptions& options, grpc::ClientContext* context) {
  if (!options.api_key.empty()) context->AddMetadata("authorization", "Bearer " + options.api_key);
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const LoadOptions& options) {
  if (options.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.tls_ca;
  return grpc::SslCredentials(tls);
}

// One streaming call; deletes itself when done. gRPC calls it from one thread at
// a time.
class Call final : public grpc::ClientReadReactor<v1::CompletionChunk> {
 public:
  Call(const LoadOptions& options, const Work& work, SteadyClock::time_point start,
       v1::CompletionService::Stub& stub, RequestRecord& record, std::function<void()> done)
      : start_(start), record_(record), done_(std::move(done)) {
    request_.set_model(options.model);
    request_.mutable_token_ids()->mutable_ids()->Add(work.prompt.begin(), work.prompt.end());
    request_.set_max_tokens(work.max_tokens);
    request_.set_ignore_eos(true);
    request_.set_return_token_ids(true);
    request_.set_temperature(static_cast<float>(options.temperature));
    request_.set_seed(static_cast<int64_t>(work.seed));
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1e3)));
    ShowKey(options, &context_);
    stub.async()->StreamCompletion(&context_, &request_, this);
    StartRead(&chunk_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double now = SecondsSince(start_);
    int32_t tokens = 0;
    for (const v1::CompletionChoice& choice : chunk_.choices()) tokens += choice.token_ids_size();
    record_.AddTokens(now, tokens);
    if (chunk_.has_usage()) {
      record_.cached_tokens = chunk_.usage().prompt_tokens_details().cached_tokens();
    }
    StartRead(&chunk_);
  }

  void OnDone(const grpc::Status& status) override {
    record_.end = SecondsSince(start_);
    record_.code = static_cast<int>(status.error_code());
    const std::function<void()> done = std::move(done_);
    delete this;
    done();
  }

 private:
  const SteadyClock::time_point start_;
  RequestRecord& record_;
  std::function<void()> done_;
  grpc::ClientContext context_;
  v1::CompletionRequest request_;
  v1::CompletionChunk chunk_;
};

class GrpcTarget final : public Target {
 public:
  explicit GrpcTarget(const LoadOptions& options) : options_(options) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel_ = grpc::CreateCustomChannel(options.address, CredentialsOf(options), arguments);
    stub_ = v1::CompletionService::NewStub(channel_);
  }

  StatusOr<int32_t> VocabSize() override {
    v1::ListModelsResponse models;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    ShowKey(options_, &context);
    const grpc::Status listed =
        v1::ModelService::NewStub(channel_)->ListModels(&context, v1::ListModelsRequest(), &models);
    if (!listed.ok()) return UnavailableError(listed.error_message());
    if (models.models().empty()) return UnavailableError("it serves no model");
    return models.models(0).vocab_size();
  }

  void Begin(const Work& work, SteadyClock::time_point start, RequestRecord& record,
             std::function<void()> done) override {
    new Call(options_, work, start, *stub_, record, std::move(done));  // deletes itself
  }

 private:
  const LoadOptions options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::CompletionService::Stub> stub_;
};

}  // namespace

std::unique_ptr<Target> MakeGrpcTarget(const LoadOptions& options) {
  return std::make_unique<GrpcTarget>(options);
}

}  // namespace inferd::bench
