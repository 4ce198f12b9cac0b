#include "server/admission.h"

#include <string>
#include <utility>

#include "server/errors.h"

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

template <typename Request>
Admitted AdmitAny(FrontEnd& front, const GenerationCall::Arrival& arrival, Protocol protocol,
                  bool streaming, const char* id_prefix, const Request& message) {
  Admitted admitted{{}, UnexpectedError()};
  auto model = front.ModelFor(arrival.caller);
  if (!model.ok()) {
    admitted.request = model.status();
    return admitted;
  }
  try {
    AnswerContext& answer = admitted.answer;
    answer.model = *model;
    answer.id = id_prefix + front.RandomId();
    answer.created = front.clock().UnixUs() / 1'000'000;
    if (arrival.arrival_us >= arrival.deadline_us) {
      admitted.request = DeadlineError("before the request arrived");
      return admitted;
    }
    const ValidationContext validation{(*model)->model, front.options().limits, streaming,
                                       protocol};
    admitted.request = Validate(message, validation);
    if (!admitted.request.ok()) return admitted;
    const GenerationRequest& request = *admitted.request;
    answer.logprobs = request.sampling.logprobs >= 0;
    answer.token_ids = request.return_token_ids;
    answer.include_usage = request.include_usage;
    answer.continuous_usage = request.continuous_usage;
  } catch (...) {  // out of memory, or a library's exception
    admitted.request = UnexpectedError();
  }
  return admitted;
}

}  // namespace

Admitted Admit(FrontEnd& front, const GenerationCall::Arrival& arrival, Protocol protocol,
               bool streaming, const v1::ChatCompletionRequest& message) {
  return AdmitAny(front, arrival, protocol, streaming, "chatcmpl-", message);
}

Admitted Admit(FrontEnd& front, const GenerationCall::Arrival& arrival, Protocol protocol,
               bool streaming, const v1::CompletionRequest& message) {
  return AdmitAny(front, arrival, protocol, streaming, "cmpl-", message);
}

}  // namespace inferd
