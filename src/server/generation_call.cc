#include "server/generation_call.h"

#include <algorithm>
#include <utility>

#include "server/errors.h"
#include "server/prepare.h"

namespace inferd {

GenerationCall::GenerationCall(FrontEnd& front, Arrival arrival,
                               std::shared_ptr<ClientStream> client)
    : front_(front),
      arrival_(std::move(arrival)),
      client_(std::move(client)),
      id_(front.NextRequestId()) {}

void GenerationCall::Reject(const Status& status) { End(status); }

void GenerationCall::Start(std::shared_ptr<const AttachedModel> model, GenerationRequest request) {
  if (!Accept(std::move(model), request, std::nullopt)) return;
  auto job = [self = shared_from_this(), shared = std::make_shared<GenerationRequest>(
                                             std::move(request))] { self->Prepare(*shared); };
  if (!front_.tokenizers().TryRun(std::move(job))) End(QueueFullError("the tokenizer queue"));
}

void GenerationCall::StartOnPool(std::shared_ptr<const AttachedModel> model,
                                 GenerationRequest request, QuotaShare quota) {
  if (Accept(std::move(model), request, std::move(quota))) Prepare(request);
}

bool GenerationCall::Accept(std::shared_ptr<const AttachedModel> model,
                            const GenerationRequest& request, std::optional<QuotaShare> quota) {
  Status refusal;
  {
    // Under the lock, so that what is taken, accepted and registered is what End undoes.
    std::lock_guard lock(mutex_);
    if (ended_) return false;
    model_ = std::move(model);
    refusal = TakeQuota(std::move(quota));
    if (refusal.ok()) {
      accepted_ = front_.accounting().TryAccept();
      if (!accepted_) refusal = DrainingError();
    }
    if (accepted_) {
      record_.num_choices = request.num_choices;
      record_.asked_tokens = request.max_new_tokens.value_or(0);
      if (front_.tracer() != nullptr && arrival_.caller.trace.sampled) {
        record_.request_attributes = RequestAttributes(request);
      }
      front_.router().Register(id_, shared_from_this());
      return true;
    }
  }
  End(refusal);
  return false;
}

Status GenerationCall::TakeQuota(std::optional<QuotaShare> taken) {
  const CallerInfo& caller = arrival_.caller;
  INFERD_RETURN_IF_ERROR(caller.access);
  INFERD_RETURN_IF_ERROR(CheckModelAccess(caller.key, model_->model));
  if (taken) {
    quota_.emplace(*std::move(taken));
    return OkStatus();
  }
  INFERD_ASSIGN_OR_RETURN(QuotaShare quota,
                          QuotaShare::Take(front_.authorizer().limiter(), caller.key));
  quota_.emplace(std::move(quota));
  return OkStatus();
}

void GenerationCall::Prepare(GenerationRequest& request) {
  Status status;
  try {
    status = PrepareAndSubmit(request);
  } catch (...) {  // out of memory, or a library's exception
    status = UnexpectedError();
  }
  if (!status.ok()) End(status);
}

Status GenerationCall::PrepareAndSubmit(GenerationRequest& request) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return OkStatus();
  }
  const Clock& clock = front_.clock();
  if (clock.NowUs() >= arrival_.deadline_us) return DeadlineError("before the request was read");
  INFERD_ASSIGN_OR_RETURN(RenderedTokens rendered, RenderAndEncode(request, model_->model, clock));
  if (rendered.template_us >= 0) front_.metrics().ObserveTemplate(rendered.template_us);
  if (rendered.tokenize_us >= 0) front_.metrics().ObserveTokenize(rendered.tokenize_us);

  PromptFacts facts;
  facts.num_tokens = static_cast<int32_t>(rendered.tokens.size());
  if (request.return_token_ids) facts.token_ids = rendered.tokens;
  if (request.echo) {
    facts.echo = request.text ? *request.text
                              : model_->model.tokenizer->Decode(rendered.tokens,
                                                                request.skip_special_tokens);
  }
  {
    std::lock_guard lock(mutex_);
    record_.summary.usage.prompt_tokens = facts.num_tokens;
  }
  INFERD_ASSIGN_OR_RETURN(
      RequestSpec spec, BuildSpec(request, std::move(rendered.tokens), model_->model, CacheScope(),
                                  front_.entropy()));
  spec.id = id_;
  spec.deadline_us = arrival_.deadline_us;
  if (request.time_limit_ms) {
    const int64_t limit_us = arrival_.arrival_us + *request.time_limit_ms * 1000;
    time_limited_ = limit_us < spec.deadline_us;
    spec.deadline_us = std::min(spec.deadline_us, limit_us);
    spec.deadline_is_soft = time_limited_;
  }
  MakeDecoders(request);
  client_->Begin(std::move(facts));

  // Under the lock, so that a cancellation comes either before the submission or
  // after it, and reaches the engine in the second case.
  std::lock_guard lock(mutex_);
  if (ended_) return OkStatus();
  record_.max_new_tokens = spec.stop.max_new_tokens;
  INFERD_RETURN_IF_ERROR(model_->engine.Submit(std::move(spec)));
  submitted_ = true;
  return OkStatus();
}

CacheScopeKey GenerationCall::CacheScope() const {
  const Principal& key = arrival_.caller.key;
  return {front_.cache_key(), key == nullptr ? std::string_view() : std::string_view(key->tenant)};
}

void GenerationCall::MakeDecoders(const GenerationRequest& request) {
  DecodeOptions options;
  options.stop_strings = request.stop_strings;
  options.include_stop_in_output = request.include_stop_in_output;
  options.skip_special_tokens = request.skip_special_tokens;
  options.keep_pieces = request.sampling.logprobs >= 0 || request.return_token_ids;
  options.tokens_per_delta = request.stream_interval;
  options.min_tokens = request.min_tokens;
  choices_.Open(request.num_choices, *model_->model.tokenizer, options);
}

Status GenerationCall::StatusOf(FinishReason reason) const {
  switch (reason) {
    case FinishReason::kNone:
    case FinishReason::kStopToken:
    case FinishReason::kLength:
      return OkStatus();
    case FinishReason::kDeadline:
      return time_limited_ ? OkStatus() : DeadlineError("before the answer was complete");
    case FinishReason::kCorrupted:
      return CorruptedLogitsError();
    case FinishReason::kPreempted:
      return PreemptedError();
    case FinishReason::kQueueTimeout:
      return QueueTimeoutError();
    case FinishReason::kRanksLost:
      return RanksLostError();
    case FinishReason::kPoison:
      return PoisonError();
    case FinishReason::kCancelled:  // not by us: the engine is being taken down
    case FinishReason::kEngineDead:
      return EngineDeadError();
  }
  return UnexpectedError();
}

void GenerationCall::OnEvent(TokenEvent&& event) {
  Status status;
  try {
    status = HandleEvent(std::move(event));
  } catch (...) {
    status = UnexpectedError();
  }
  if (status.ok()) return;
  try {
    Flush();  // what came before the failure is valid
  } catch (...) {
    status = UnexpectedError();
  }
  End(status);
}

Status GenerationCall::HandleEvent(TokenEvent&& event) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return OkStatus();
    if (!saw_first_event_) {
      saw_first_event_ = true;
      record_.summary.usage.cached_tokens = event.cached_tokens;
      record_.summary.queue_us = event.queue_us;
    }
  }
  ChoiceDecoder* const found = choices_.Find(event.choice);
  if (found == nullptr) return UnexpectedError();
  ChoiceDecoder& decoder = *found;
  // Tokens that were under way when a stop string ended the choice.
  if (decoder.finished()) return OkStatus();
  const FinishReason finish = event.finish;
  const int32_t choice = event.choice;
  INFERD_RETURN_IF_ERROR(StatusOf(finish));
  decoder.Push(std::move(event));
  if (finish == FinishReason::kDeadline && !decoder.finished()) {
    decoder.Finish(ChoiceEnd::kTimeLimit);
  }
  if (decoder.stopped_by_string() && finish == FinishReason::kNone) {
    model_->engine.FinishChoice(id_, choice);
  }
  choices_.Collect(decoder);
  return OkStatus();
}

void GenerationCall::OnBatchEnd() {
  try {
    Flush();
  } catch (...) {
    End(UnexpectedError());
    return;
  }
  if (choices_.complete()) End(OkStatus());
}

void GenerationCall::Flush() {
  if (!choices_.has_deltas()) return;
  std::vector<ChoiceDelta> deltas = choices_.TakeDeltas();
  const int64_t now_us = front_.clock().NowUs();
  bool first = false;
  CallUsage usage;
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    first = record_.NoteDeltas(deltas, choices_.num_tokens(), arrival_.arrival_us, now_us);
    usage = record_.summary.usage;
  }
  if (first) front_.metrics().ObserveFirstToken(now_us - arrival_.arrival_us);
  choices_.NoteLatency(deltas, now_us, [this](int64_t elapsed_us, int32_t tokens) {
    front_.metrics().ObserveTokens(elapsed_us, tokens);
  });
  const Status status = client_->Deliver(std::move(deltas), usage);
  if (!status.ok()) End(status);
}

void GenerationCall::Cancel() {
  const bool late = front_.clock().NowUs() >= arrival_.deadline_us;
  End(late ? DeadlineError("before the answer was complete") : ClientCancelledError());
}

LiveRequest GenerationCall::Describe() const {
  LiveRequest live;
  const CallerInfo& caller = arrival_.caller;
  live.request_id = caller.request_id;
  live.method = caller.method;
  live.arrival_us = arrival_.arrival_us;
  live.trace_id = caller.trace.trace_id;
  if (caller.key != nullptr) {
    live.tenant = caller.key->tenant;
    live.key_id = caller.key->id;
  }
  std::lock_guard lock(mutex_);
  if (submitted_) live.state = LiveState::kWaiting;
  if (record_.summary.queue_us >= 0) live.state = LiveState::kRunning;
  live.prompt_tokens = record_.summary.usage.prompt_tokens;
  live.completion_tokens = record_.summary.usage.completion_tokens;
  return live;
}

void GenerationCall::End(const Status& status) {
  CallRecord record;
  bool submitted = false;
  bool accepted = false;
  std::optional<QuotaShare> quota;
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    submitted = submitted_;
    accepted = accepted_;
    record = record_;
    if (quota_) quota.emplace(*std::move(quota_));
  }
  const CallUsage& usage = record.summary.usage;
  if (quota) quota->Charge(int64_t{usage.prompt_tokens} + usage.completion_tokens);
  // Before the client hears of the end: its next request must find the place free.
  quota.reset();
  if (submitted && !status.ok()) model_->engine.CancelRequest(id_);
  if (accepted) front_.router().Unregister(id_);
  Report(status, record, accepted);
  if (status.detail() != nullptr && status.detail()->reason == "ENGINE_DEAD") front_.EngineDied();
  client_->End(status, record.summary);
}

void GenerationCall::Report(const Status& status, const CallRecord& record, bool accepted) {
  const EndedRequest ended = record.Ended(status, front_.clock().NowUs() - arrival_.arrival_us);
  front_.metrics().RpcEnded(arrival_.caller.method, status);
  AccessRecord access{arrival_.caller, model_ ? std::string_view(model_->model.id) : ""};
  access.code = status.code();
  if (status.detail() != nullptr) access.reason = status.detail()->reason;
  access.summary = ended.summary;
  access.e2e_us = ended.e2e_us;
  access.finish_reason = ended.finish_reason;
  front_.LogAccess(access);
  // Not of those who may not come in: they could fill the queue of the others.
  SpanExporter* const tracer = arrival_.caller.access.ok() ? front_.tracer() : nullptr;
  if (tracer != nullptr && arrival_.caller.trace.sampled) {
    tracer->Export(RequestSpan(arrival_.caller, access.model, ended, status,
                               record.request_attributes, front_.clock().UnixUs(),
                               front_.entropy()));
  }
  if (!accepted) return;
  front_.metrics().RequestEnded(ended);
  front_.accounting().End(ended.outcome);
}

}  // namespace inferd
