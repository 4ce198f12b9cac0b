#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "inferd/v1/services.grpc.pb.h"
#include "server/errors.h"
#include "server/grpc_status.h"
#include "server/info_services.h"
#include "server/prepare.h"
#include "server/rpc_context.h"
#include "server/validate.h"

namespace inferd {
namespace {

// A unary rpc whose work runs on the tokenizer pool. Request and response stay
// valid until Finish. Deleted by OnDone.
class PooledReactor final : public grpc::ServerUnaryReactor {
 public:
  using Work = std::function<Status(const ServedModel&)>;

  PooledReactor(FrontEnd& front, RpcMethod method, grpc::CallbackServerContext* context, Work work)
      : front_(front),
        context_(context),
        caller_(ReadCaller(method, *context, front)),
        work_(std::move(work)),
        start_us_(front.clock().NowUs()) {}

  void Start() {
    auto model = front_.Model();
    if (!model.ok()) {
      Done(model.status());
      return;
    }
    model_ = *model;
    if (!front_.tokenizers().TryRun([this] { Run(); })) {
      Done(QueueFullError("the tokenizer queue"));
    }
  }

  void OnDone() override { delete this; }

 private:
  void Run() {
    if (context_->IsCancelled()) {
      Done(ClientCancelledError());
      return;
    }
    Status status;
    try {
      status = work_(model_->model);
    } catch (...) {  // out of memory, or a library's exception
      status = UnexpectedError();
    }
    Done(status);
  }

  void Done(const Status& status) {
    front_.metrics().RpcEnded(caller_.method, status);
    AccessRecord record{caller_, model_ ? std::string_view(model_->model.id) : ""};
    record.code = status.code();
    if (status.detail() != nullptr) record.reason = status.detail()->reason;
    record.e2e_us = front_.clock().NowUs() - start_us_;
    front_.LogAccess(record);
    AddTrailers(caller_, status, CallSummary{}, /*answered=*/false, context_);
    Finish(ToGrpcStatus(status));
  }

  FrontEnd& front_;
  grpc::CallbackServerContext* const context_;
  const CallerInfo caller_;
  const Work work_;
  const int64_t start_us_;
  std::shared_ptr<const AttachedModel> model_;
};

Status TokenizeText(const ServedModel& model, const RequestLimits& limits,
                    const v1::TokenizeRequest& request, v1::TokenizeResponse* response) {
  INFERD_RETURN_IF_ERROR(ValidateModelName(request.model(), model));
  if (static_cast<int64_t>(request.text().size()) > limits.max_text_bytes) {
    return InvalidField("text",
                        "must have at most " + std::to_string(limits.max_text_bytes) + " bytes");
  }
  const std::vector<TextSegment> segments = {{request.text(), /*trusted=*/false}};
  const bool add = !request.has_add_special_tokens() || request.add_special_tokens();
  INFERD_ASSIGN_OR_RETURN(std::vector<TokenId> ids, model.tokenizer->Encode(segments, add));
  for (const TokenId id : ids) {
    response->add_token_ids(static_cast<uint32_t>(id));
    if (request.return_token_strings()) {
      response->add_token_bytes(std::string(model.tokenizer->TokenBytes(id)));
    }
  }
  response->set_count(static_cast<int32_t>(ids.size()));
  response->set_max_model_len(model.max_model_len);
  return OkStatus();
}

Status DetokenizeIds(const ServedModel& model, const RequestLimits& limits,
                     const v1::DetokenizeRequest& request, v1::DetokenizeResponse* response) {
  INFERD_RETURN_IF_ERROR(ValidateModelName(request.model(), model));
  INFERD_ASSIGN_OR_RETURN(
      std::vector<TokenId> ids,
      ValidateTokenIds("token_ids", request.token_ids().data(),
                       static_cast<size_t>(request.token_ids_size()), model.vocab_size));
  // A few bytes of ids may stand for a hundred times the text.
  int64_t bytes = 0;
  for (const TokenId id : ids) {
    bytes += static_cast<int64_t>(model.tokenizer->TokenBytes(id).size());
  }
  if (bytes > limits.max_text_bytes) {
    return InvalidField("token_ids", "stand for " + std::to_string(bytes) +
                                         " bytes of text, at most " +
                                         std::to_string(limits.max_text_bytes) + " are allowed");
  }
  const bool skip = !request.has_skip_special_tokens() || request.skip_special_tokens();
  response->set_text(model.tokenizer->Decode(ids, skip));
  return OkStatus();
}

Status Render(const ServedModel& model, FrontEnd& front, const v1::RenderChatRequest& request,
              v1::RenderChatResponse* response) {
  // Either rpc's request may be rendered, so `stream` is whatever it says.
  const ValidationContext context{
      model, front.options().limits,
      request.request().stream() || request.request().has_stream_options()};
  INFERD_ASSIGN_OR_RETURN(GenerationRequest chat, ValidateChat(request.request(), context));
  INFERD_ASSIGN_OR_RETURN(RenderedTokens rendered, RenderAndEncode(chat, model, front.clock()));
  for (const TextSegment& segment : rendered.segments) *response->mutable_prompt() += segment.text;
  for (const TokenId id : rendered.tokens) response->add_token_ids(static_cast<uint32_t>(id));
  return OkStatus();
}

class TokenizerServiceImpl final : public v1::TokenizerService::CallbackService {
 public:
  explicit TokenizerServiceImpl(FrontEnd& front) : front_(front) {}

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    return Start(RpcMethod::kTokenize, context, [this, request, response](const ServedModel& m) {
      return TokenizeText(m, front_.options().limits, *request, response);
    });
  }
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override {
    return Start(RpcMethod::kDetokenize, context, [this, request, response](const ServedModel& m) {
      return DetokenizeIds(m, front_.options().limits, *request, response);
    });
  }
  grpc::ServerUnaryReactor* RenderChat(grpc::CallbackServerContext* context,
                                       const v1::RenderChatRequest* request,
                                       v1::RenderChatResponse* response) override {
    return Start(RpcMethod::kRenderChat, context, [this, request, response](const ServedModel& m) {
      return Render(m, front_, *request, response);
    });
  }

 private:
  grpc::ServerUnaryReactor* Start(RpcMethod method, grpc::CallbackServerContext* context,
                                  PooledReactor::Work work) {
    auto* reactor = new PooledReactor(front_, method, context, std::move(work));
    reactor->Start();
    return reactor;
  }

  FrontEnd& front_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTokenizerService(FrontEnd& front) {
  return std::make_unique<TokenizerServiceImpl>(front);
}

}  // namespace inferd
