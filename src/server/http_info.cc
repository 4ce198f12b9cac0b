#include "server/http_info.h"

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "inferd/openai/openai.h"
#include "server/disconnect_relay.h"
#include "server/errors.h"
#include "server/http_context.h"
#include "server/model_card.h"
#include "server/tokenizer_work.h"

namespace inferd {
namespace {

// One call that is answered with one JSON object. Not thread-safe: one thread after
// another has it.
class InfoCall {
 public:
  // From the model to the answer's JSON.
  using Work = std::function<StatusOr<std::string>(const ServedModel&)>;

  explicit InfoCall(HttpCall&& call) : call_(std::move(call)), start_us_(Front().clock().NowUs()) {}

  FrontEnd& Front() const { return call_.front; }

  // The model, if the caller may use it.
  Status TakeModel() {
    INFERD_ASSIGN_OR_RETURN(model_, Front().ModelFor(call_.caller));
    return OkStatus();
  }
  // And now: for what costs time.
  Status TakeQuota() {
    INFERD_ASSIGN_OR_RETURN(QuotaShare quota,
                            QuotaShare::Take(Front().authorizer().limiter(), call_.caller.key));
    quota_.emplace(std::move(quota));
    return OkStatus();
  }

  // Nothing is thrown.
  void Run(const Work& work) {
    StatusOr<std::string> json = UnexpectedError();
    try {
      json = work(model_->model);
    } catch (...) {  // out of memory, or a library's exception
    }
    Done(std::move(json));
  }

  void Done(StatusOr<std::string>&& json) {
    Front().metrics().RpcEnded(call_.caller.method, json.status());
    AccessRecord record{call_.caller, model_ ? std::string_view(model_->model.id) : ""};
    record.code = json.status().code();
    if (json.status().detail() != nullptr) record.reason = json.status().detail()->reason;
    record.e2e_us = Front().clock().NowUs() - start_us_;
    Front().LogAccess(record);
    HttpResponse response;
    if (json.ok()) {
      response.headers = AnswerHeaders(call_.caller, Front());
      response.body = std::move(*json);
    } else {
      response = ErrorResponse(json.status(), AnswerHeaders(call_.caller, Front()));
    }
    quota_.reset();  // the client's next request must find the place free
    call_.exchange->Respond(std::move(response));
  }

 private:
  HttpCall call_;
  int64_t start_us_;
  std::shared_ptr<const AttachedModel> model_;
  std::optional<QuotaShare> quota_;
};

// Reads the body on the tokenizer pool; `answer` makes the JSON from it.
template <typename Answer>
void RunOnPool(HttpCall&& http, HttpRequest&& request, Answer answer) {
  const auto relay = std::make_shared<DisconnectRelay>();
  http.exchange->SetEvents(relay);
  const auto call = std::make_shared<InfoCall>(std::move(http));
  Status status = CheckMediaType(request);
  if (status.ok()) status = call->TakeModel();
  if (status.ok()) status = call->TakeQuota();
  if (!status.ok()) {
    call->Done(status);
    return;
  }
  auto job = [call, relay, body = std::move(request.body), answer] {
    if (relay->gone()) {
      call->Done(ClientCancelledError());
      return;
    }
    call->Run([&](const ServedModel& model) { return answer(model, call->Front(), body); });
  };
  if (!call->Front().tokenizers().TryRun(std::move(job))) {
    call->Done(QueueFullError("the tokenizer queue"));
  }
}

StatusOr<std::string> Tokenized(const ServedModel& model, FrontEnd& front,
                                const std::string& body) {
  INFERD_ASSIGN_OR_RETURN(const openai::TokenizeBody asked,
                          openai::ParseTokenizeRequest(body, openai::JsonLimits{}));
  v1::TokenizeResponse response;
  if (!asked.is_chat) {
    INFERD_RETURN_IF_ERROR(
        TokenizeText(model, front.options().limits, Protocol::kHttp, asked.text, &response));
    return openai::ToJson(response);
  }
  v1::RenderChatResponse rendered;
  INFERD_RETURN_IF_ERROR(RenderPrompt(model, front.options().limits, Protocol::kHttp, front.clock(),
                                      asked.chat, &rendered));
  *response.mutable_token_ids() = std::move(*rendered.mutable_token_ids());
  response.set_count(response.token_ids_size());
  response.set_max_model_len(model.max_model_len);
  return openai::ToJson(response);
}

StatusOr<std::string> Detokenized(const ServedModel& model, FrontEnd& front,
                                  const std::string& body) {
  INFERD_ASSIGN_OR_RETURN(const v1::DetokenizeRequest asked,
                          openai::ParseDetokenizeRequest(body, openai::JsonLimits{}));
  v1::DetokenizeResponse response;
  INFERD_RETURN_IF_ERROR(
      DetokenizeIds(model, front.options().limits, Protocol::kHttp, asked, &response));
  return openai::ToJson(response);
}

}  // namespace

void AnswerModels(HttpCall&& http) {
  InfoCall call(std::move(http));
  Status status = call.TakeModel();
  // A model that the key may not use is not there for it.
  const bool hidden = status.code() == StatusCode::kPermissionDenied;
  if (!status.ok() && !hidden) {
    call.Done(status);
    return;
  }
  if (hidden) {
    call.Done(openai::ToJson(v1::ListModelsResponse()));
    return;
  }
  call.Run([](const ServedModel& model) -> StatusOr<std::string> {
    v1::ListModelsResponse response;
    FillModel(model, response.add_models());
    return openai::ToJson(response);
  });
}

void AnswerModel(HttpCall&& http, const std::string& name) {
  InfoCall call(std::move(http));
  if (const Status status = call.TakeModel(); !status.ok()) {
    call.Done(status);
    return;
  }
  call.Run([&name](const ServedModel& model) -> StatusOr<std::string> {
    INFERD_RETURN_IF_ERROR(ValidateModelName(name, model));
    v1::Model card;
    FillModel(model, &card);
    return openai::ToJson(card);
  });
}

void AnswerTokenize(HttpCall&& http, HttpRequest&& request) {
  RunOnPool(std::move(http), std::move(request), Tokenized);
}

void AnswerDetokenize(HttpCall&& http, HttpRequest&& request) {
  RunOnPool(std::move(http), std::move(request), Detokenized);
}

}  // namespace inferd
