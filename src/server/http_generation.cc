#include "server/http_generation.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "inferd/openai/openai.h"
#include "server/admission.h"
#include "server/disconnect_relay.h"
#include "server/errors.h"
#include "server/http_answer.h"
#include "server/http_context.h"
#include "server/http_stream.h"

namespace inferd {
namespace {

struct ChatKind {
  using Request = v1::ChatCompletionRequest;
  using Answer = v1::ChatCompletion;
  using Chunk = v1::ChatCompletionChunk;
  static StatusOr<Request> Parse(const std::string& body) {
    return openai::ParseChatRequest(body, openai::JsonLimits{});
  }
};

struct CompletionKind {
  using Request = v1::CompletionRequest;
  using Answer = v1::Completion;
  using Chunk = v1::CompletionChunk;
  static StatusOr<Request> Parse(const std::string& body) {
    return openai::ParseCompletionRequest(body, openai::JsonLimits{});
  }
};

// One request on its way from the network thread to its GenerationCall.
template <typename Kind>
class Starting {
 public:
  Starting(HttpCall&& call, HttpRequest&& request)
      : front_(call.front), exchange_(std::move(call.exchange)), request_(std::move(request)) {
    arrival_.caller = std::move(call.caller);
    arrival_.arrival_us = front_.clock().NowUs();
    arrival_.deadline_us = arrival_.arrival_us + front_.options().limits.default_deadline_ms * 1000;
    exchange_->SetEvents(relay_);
  }

  // On the network thread: what can be refused without reading the body.
  Status CheckHead() {
    INFERD_RETURN_IF_ERROR(CheckMediaType(request_));
    INFERD_ASSIGN_OR_RETURN(arrival_.deadline_us,
                            DeadlineUs(request_, arrival_.arrival_us, front_.options().limits));
    INFERD_RETURN_IF_ERROR(front_.ModelFor(arrival_.caller).status());
    // Before the body waits for a thread: who is at a limit holds up nobody.
    INFERD_ASSIGN_OR_RETURN(QuotaShare quota,
                            QuotaShare::Take(front_.authorizer().limiter(), arrival_.caller.key));
    quota_.emplace(std::move(quota));
    return OkStatus();
  }

  void Reject(const Status& status) {
    quota_.reset();  // the client's next request must find the place free
    auto client = std::make_shared<HttpAnswer<typename Kind::Answer>>(
        front_, exchange_, arrival_.caller, AnswerContext{}, /*num_choices=*/0);
    std::make_shared<GenerationCall>(front_, arrival_, client)->Reject(status);
  }

  // On the tokenizer pool. Nothing is thrown.
  void Run() {
    Status status = UnexpectedError();
    try {
      status = ReadAndStart();
    } catch (...) {  // out of memory, or a library's exception
    }
    if (!status.ok()) Reject(status);
  }

 private:
  Status ReadAndStart() {
    if (relay_->gone()) return ClientCancelledError();
    INFERD_ASSIGN_OR_RETURN(typename Kind::Request message, Kind::Parse(request_.body));
    request_.body = std::string();
    const bool streaming = message.stream();
    Admitted admitted = Admit(front_, arrival_, Protocol::kHttp, streaming, message);
    INFERD_RETURN_IF_ERROR(admitted.request.status());
    if (streaming) {
      Start(std::make_shared<HttpStream<typename Kind::Chunk>>(front_, exchange_, arrival_.caller,
                                                               admitted.answer),
            std::move(admitted));
    } else {
      Start(std::make_shared<HttpAnswer<typename Kind::Answer>>(
                front_, exchange_, arrival_.caller, admitted.answer, admitted.request->num_choices),
            std::move(admitted));
    }
    return OkStatus();
  }

  template <typename Client>
  void Start(const std::shared_ptr<Client>& client, Admitted&& admitted) {
    auto call = std::make_shared<GenerationCall>(front_, arrival_, client);
    client->Launch(call);
    relay_->SetTarget(client);
    call->StartOnPool(admitted.answer.model, std::move(*admitted.request), *std::move(quota_));
    quota_.reset();
  }

  FrontEnd& front_;
  const std::shared_ptr<HttpExchange> exchange_;
  const std::shared_ptr<DisconnectRelay> relay_ = std::make_shared<DisconnectRelay>();
  HttpRequest request_;
  GenerationCall::Arrival arrival_;
  std::optional<QuotaShare> quota_;  // from CheckHead until the call has it
};

template <typename Kind>
void StartGeneration(HttpCall&& call, HttpRequest&& request) {
  FrontEnd& front = call.front;
  auto starting = std::make_shared<Starting<Kind>>(std::move(call), std::move(request));
  if (const Status status = starting->CheckHead(); !status.ok()) {
    starting->Reject(status);
  } else if (!front.tokenizers().TryRun([starting] { starting->Run(); })) {
    starting->Reject(QueueFullError("the tokenizer queue"));
  }
}

}  // namespace

void StartHttpChat(HttpCall&& call, HttpRequest&& request) {
  StartGeneration<ChatKind>(std::move(call), std::move(request));
}

void StartHttpCompletion(HttpCall&& call, HttpRequest&& request) {
  StartGeneration<CompletionKind>(std::move(call), std::move(request));
}

}  // namespace inferd
