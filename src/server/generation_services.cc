#include "server/generation_services.h"

#include <string>
#include <utility>

#include "inferd/v1/chat.grpc.pb.h"
#include "inferd/v1/services.grpc.pb.h"
#include "server/admission.h"
#include "server/stream_reactor.h"
#include "server/unary_reactor.h"

namespace inferd {
namespace {

GenerationCall::Arrival ReadArrival(FrontEnd& front, RpcMethod method,
                                    const grpc::CallbackServerContext& context) {
  GenerationCall::Arrival arrival;
  arrival.caller = ReadCaller(method, context, front);
  arrival.arrival_us = front.clock().NowUs();
  arrival.deadline_us = DeadlineUs(context, front);
  return arrival;
}

// Starts the call behind `reactor`, which gRPC and the call own from here on.
template <typename Reactor>
void Launch(FrontEnd& front, GenerationCall::Arrival&& arrival, Admitted&& admitted,
            const std::shared_ptr<Reactor>& reactor) {
  auto call = std::make_shared<GenerationCall>(front, std::move(arrival), reactor);
  reactor->Launch(reactor, call);
  if (admitted.request.ok()) {
    call->Start(admitted.answer.model, std::move(*admitted.request));
  } else {
    call->Reject(admitted.request.status());
  }
}

template <typename Answer, typename Request>
grpc::ServerUnaryReactor* StartUnary(FrontEnd& front, RpcMethod method,
                                     grpc::CallbackServerContext* context, const Request& message,
                                     Answer* response) {
  GenerationCall::Arrival arrival = ReadArrival(front, method, *context);
  Admitted admitted = Admit(front, arrival, Protocol::kGrpc, /*streaming=*/false, message);
  const int32_t n = admitted.request.ok() ? admitted.request->num_choices : 0;
  auto reactor = std::make_shared<UnaryReactor<Answer>>(front, context, arrival.caller,
                                                        admitted.answer, n, response);
  Launch(front, std::move(arrival), std::move(admitted), reactor);
  return reactor.get();
}

template <typename Chunk, typename Request>
grpc::ServerWriteReactor<Chunk>* StartStream(FrontEnd& front, RpcMethod method,
                                             grpc::CallbackServerContext* context,
                                             const Request& message) {
  GenerationCall::Arrival arrival = ReadArrival(front, method, *context);
  Admitted admitted = Admit(front, arrival, Protocol::kGrpc, /*streaming=*/true, message);
  auto reactor =
      std::make_shared<StreamReactor<Chunk>>(front, context, arrival.caller, admitted.answer);
  Launch(front, std::move(arrival), std::move(admitted), reactor);
  return reactor.get();
}

class ChatServiceImpl final : public v1::ChatService::CallbackService {
 public:
  explicit ChatServiceImpl(FrontEnd& front) : front_(front) {}

  grpc::ServerUnaryReactor* CreateChatCompletion(grpc::CallbackServerContext* context,
                                                 const v1::ChatCompletionRequest* request,
                                                 v1::ChatCompletion* response) override {
    return StartUnary(front_, RpcMethod::kCreateChatCompletion, context, *request, response);
  }
  grpc::ServerWriteReactor<v1::ChatCompletionChunk>* StreamChatCompletion(
      grpc::CallbackServerContext* context, const v1::ChatCompletionRequest* request) override {
    return StartStream<v1::ChatCompletionChunk>(front_, RpcMethod::kStreamChatCompletion, context,
                                                *request);
  }

 private:
  FrontEnd& front_;
};

class CompletionServiceImpl final : public v1::CompletionService::CallbackService {
 public:
  explicit CompletionServiceImpl(FrontEnd& front) : front_(front) {}

  grpc::ServerUnaryReactor* CreateCompletion(grpc::CallbackServerContext* context,
                                             const v1::CompletionRequest* request,
                                             v1::Completion* response) override {
    return StartUnary(front_, RpcMethod::kCreateCompletion, context, *request, response);
  }
  grpc::ServerWriteReactor<v1::CompletionChunk>* StreamCompletion(
      grpc::CallbackServerContext* context, const v1::CompletionRequest* request) override {
    return StartStream<v1::CompletionChunk>(front_, RpcMethod::kStreamCompletion, context,
                                            *request);
  }

 private:
  FrontEnd& front_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeChatService(FrontEnd& front) {
  return std::make_unique<ChatServiceImpl>(front);
}
std::unique_ptr<grpc::Service> MakeCompletionService(FrontEnd& front) {
  return std::make_unique<CompletionServiceImpl>(front);
}

}  // namespace inferd
