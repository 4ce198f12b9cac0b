#include "server/generation_services.h"

#include <string>
#include <utility>

#include "inferd/v1/chat.grpc.pb.h"
#include "inferd/v1/services.grpc.pb.h"
#include "server/errors.h"
#include "server/stream_reactor.h"
#include "server/unary_reactor.h"
#include "server/validate.h"

namespace inferd {
namespace {

StatusOr<GenerationRequest> Validate(const v1::ChatCompletionRequest& request,
                                     const ValidationContext& context) {
  return ValidateChat(request, context);
}
StatusOr<GenerationRequest> Validate(const v1::CompletionRequest& request,
                                     const ValidationContext& context) {
  return ValidateCompletion(request, context);
}

// A request as far as the callback takes it: validated against the model there
// is, or the reason why not.
struct Admitted {
  CallerInfo caller;
  GenerationCall::Arrival arrival;
  AnswerContext answer;
  StatusOr<GenerationRequest> request = UnexpectedError();
};

template <typename Request>
Admitted Admit(FrontEnd& front, RpcMethod method, bool streaming, const char* id_prefix,
               const grpc::CallbackServerContext& context, const Request& message) {
  Admitted admitted;
  admitted.caller = ReadCaller(method, context, front);
  admitted.arrival.caller = admitted.caller;
  admitted.arrival.arrival_us = front.clock().NowUs();
  admitted.arrival.deadline_us = DeadlineUs(context, front);
  auto model = front.Model();
  if (!model.ok()) {
    admitted.request = model.status();
    return admitted;
  }
  AnswerContext& answer = admitted.answer;
  answer.model = *model;
  answer.id = id_prefix + front.RandomId();
  answer.created = front.clock().UnixUs() / 1'000'000;
  if (admitted.arrival.arrival_us >= admitted.arrival.deadline_us) {
    admitted.request = DeadlineError("before the request arrived");
    return admitted;
  }
  try {
    const ValidationContext validation{(*model)->model, front.options().limits, streaming};
    admitted.request = Validate(message, validation);
  } catch (...) {  // out of memory, or a library's exception
    admitted.request = UnexpectedError();
  }
  if (!admitted.request.ok()) return admitted;
  const GenerationRequest& request = *admitted.request;
  answer.logprobs = request.sampling.logprobs >= 0;
  answer.token_ids = request.return_token_ids;
  answer.include_usage = request.include_usage;
  answer.continuous_usage = request.continuous_usage;
  return admitted;
}

// Starts the call behind `reactor`, which gRPC and the call own from here on.
template <typename Reactor>
void Launch(FrontEnd& front, Admitted&& admitted, const std::shared_ptr<Reactor>& reactor) {
  auto call = std::make_shared<GenerationCall>(front, std::move(admitted.arrival), reactor);
  reactor->Launch(reactor, call);
  if (admitted.request.ok()) {
    call->Start(admitted.answer.model, std::move(*admitted.request));
  } else {
    call->Reject(admitted.request.status());
  }
}

template <typename Answer, typename Request>
grpc::ServerUnaryReactor* StartUnary(FrontEnd& front, RpcMethod method, const char* id_prefix,
                                     grpc::CallbackServerContext* context, const Request& message,
                                     Answer* response) {
  Admitted admitted = Admit(front, method, /*streaming=*/false, id_prefix, *context, message);
  const int32_t n = admitted.request.ok() ? admitted.request->num_choices : 0;
  auto reactor = std::make_shared<UnaryReactor<Answer>>(front, context, admitted.caller,
                                                        admitted.answer, n, response);
  Launch(front, std::move(admitted), reactor);
  return reactor.get();
}

template <typename Chunk, typename Request>
grpc::ServerWriteReactor<Chunk>* StartStream(FrontEnd& front, StallWatch& watch, RpcMethod method,
                                             const char* id_prefix,
                                             grpc::CallbackServerContext* context,
                                             const Request& message) {
  Admitted admitted = Admit(front, method, /*streaming=*/true, id_prefix, *context, message);
  auto reactor = std::make_shared<StreamReactor<Chunk>>(front, watch, context, admitted.caller,
                                                        admitted.answer);
  Launch(front, std::move(admitted), reactor);
  return reactor.get();
}

constexpr char kChatId[] = "chatcmpl-";
constexpr char kCompletionId[] = "cmpl-";

class ChatServiceImpl final : public v1::ChatService::CallbackService {
 public:
  ChatServiceImpl(FrontEnd& front, StallWatch& watch) : front_(front), watch_(watch) {}

  grpc::ServerUnaryReactor* CreateChatCompletion(grpc::CallbackServerContext* context,
                                                 const v1::ChatCompletionRequest* request,
                                                 v1::ChatCompletion* response) override {
    return StartUnary(front_, RpcMethod::kCreateChatCompletion, kChatId, context, *request,
                      response);
  }
  grpc::ServerWriteReactor<v1::ChatCompletionChunk>* StreamChatCompletion(
      grpc::CallbackServerContext* context, const v1::ChatCompletionRequest* request) override {
    return StartStream<v1::ChatCompletionChunk>(front_, watch_, RpcMethod::kStreamChatCompletion,
                                                kChatId, context, *request);
  }

 private:
  FrontEnd& front_;
  StallWatch& watch_;
};

class CompletionServiceImpl final : public v1::CompletionService::CallbackService {
 public:
  CompletionServiceImpl(FrontEnd& front, StallWatch& watch) : front_(front), watch_(watch) {}

  grpc::ServerUnaryReactor* CreateCompletion(grpc::CallbackServerContext* context,
                                             const v1::CompletionRequest* request,
                                             v1::Completion* response) override {
    return StartUnary(front_, RpcMethod::kCreateCompletion, kCompletionId, context, *request,
                      response);
  }
  grpc::ServerWriteReactor<v1::CompletionChunk>* StreamCompletion(
      grpc::CallbackServerContext* context, const v1::CompletionRequest* request) override {
    return StartStream<v1::CompletionChunk>(front_, watch_, RpcMethod::kStreamCompletion,
                                            kCompletionId, context, *request);
  }

 private:
  FrontEnd& front_;
  StallWatch& watch_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeChatService(FrontEnd& front, StallWatch& watch) {
  return std::make_unique<ChatServiceImpl>(front, watch);
}
std::unique_ptr<grpc::Service> MakeCompletionService(FrontEnd& front, StallWatch& watch) {
  return std::make_unique<CompletionServiceImpl>(front, watch);
}

}  // namespace inferd
