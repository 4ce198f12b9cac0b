#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "inferd/v1/services.grpc.pb.h"
#include "server/errors.h"
#include "server/grpc_status.h"
#include "server/info_services.h"
#include "server/rpc_context.h"
#include "server/tokenizer_work.h"

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
    if (const Status status = TakeModel(); !status.ok()) {
      Done(status);
      return;
    }
    if (!front_.tokenizers().TryRun([this] { Run(); })) {
      Done(QueueFullError("the tokenizer queue"));
    }
  }

  void OnDone() override { delete this; }

 private:
  // The model, if the caller may use it now.
  Status TakeModel() {
    INFERD_ASSIGN_OR_RETURN(model_, front_.ModelFor(caller_));
    INFERD_ASSIGN_OR_RETURN(QuotaShare quota,
                            QuotaShare::Take(front_.authorizer().limiter(), caller_.key));
    quota_.emplace(std::move(quota));
    return OkStatus();
  }

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
    quota_.reset();  // the client's next request must find the place free
    Finish(ToGrpcStatus(status));
  }

  FrontEnd& front_;
  grpc::CallbackServerContext* const context_;
  const CallerInfo caller_;
  const Work work_;
  const int64_t start_us_;
  std::shared_ptr<const AttachedModel> model_;
  std::optional<QuotaShare> quota_;  // until the call is done
};

class TokenizerServiceImpl final : public v1::TokenizerService::CallbackService {
 public:
  explicit TokenizerServiceImpl(FrontEnd& front) : front_(front) {}

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    return Start(RpcMethod::kTokenize, context, [this, request, response](const ServedModel& m) {
      return TokenizeText(m, front_.options().limits, Protocol::kGrpc, *request, response);
    });
  }
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override {
    return Start(RpcMethod::kDetokenize, context, [this, request, response](const ServedModel& m) {
      return DetokenizeIds(m, front_.options().limits, Protocol::kGrpc, *request, response);
    });
  }
  grpc::ServerUnaryReactor* RenderChat(grpc::CallbackServerContext* context,
                                       const v1::RenderChatRequest* request,
                                       v1::RenderChatResponse* response) override {
    return Start(RpcMethod::kRenderChat, context, [this, request, response](const ServedModel& m) {
      return RenderPrompt(m, front_.options().limits, Protocol::kGrpc, front_.clock(),
                          request->request(), response);
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
