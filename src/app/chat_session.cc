#include "app/chat_session.h"

#include <utility>

#include "app/client.h"

namespace inferd::app {
namespace {

void AddMessage(v1::Role role, const std::string& text, v1::ChatCompletionRequest* request) {
  v1::ChatMessage* message = request->add_messages();
  message->set_role(role);
  message->add_content()->set_text(text);
}

void SetSampling(const SamplingArguments& sampling, v1::ChatCompletionRequest* request) {
  if (sampling.temperature) request->set_temperature(*sampling.temperature);
  if (sampling.top_p) request->set_top_p(*sampling.top_p);
  if (sampling.top_k) request->set_top_k(*sampling.top_k);
  if (sampling.min_p) request->set_min_p(*sampling.min_p);
  if (sampling.repetition_penalty) request->set_repetition_penalty(*sampling.repetition_penalty);
  if (sampling.seed) request->set_seed(*sampling.seed);
  if (sampling.max_tokens) request->set_max_completion_tokens(*sampling.max_tokens);
  for (const std::string& stop : sampling.stop) request->add_stop(stop);
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ChatSession::ChatSession(v1::ChatService::StubInterface& stub, const ChatArguments& arguments)
    : arguments_(arguments), stub_(stub) {
  request_.set_model(arguments_.model);
  SetSampling(arguments_.sampling, &request_);
  Reset();
}

void ChatSession::Reset() {
  request_.clear_messages();
  if (!arguments_.system.empty()) AddMessage(v1::ROLE_SYSTEM, arguments_.system, &request_);
}

bool ChatSession::Cancel() {
  const std::lock_guard lock(mutex_);
  if (active_ == nullptr) return false;
  active_->TryCancel();
  return true;
}

ChatSession::Answer ChatSession::Ask(const std::string& text, const OnText& on_text) {
  Answer answer;
  AddMessage(v1::ROLE_USER, text, &request_);
  const auto start = std::chrono::steady_clock::now();
  grpc::ClientContext context;
  Prepare(arguments_.client, &context);
  {
    const std::lock_guard lock(mutex_);
    active_ = &context;
  }
  const auto stream = stub_.StreamChatCompletion(&context, request_);
  v1::ChatCompletionChunk chunk;
  while (stream->Read(&chunk)) {
    for (const v1::ChunkChoice& choice : chunk.choices()) {
      if (choice.delta().has_content() && !choice.delta().content().empty()) {
        if (answer.text.empty()) answer.first_token_seconds = SecondsSince(start);
        answer.text += choice.delta().content();
        on_text(choice.delta().content());
      }
      if (choice.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
        answer.finish = choice.finish_reason();
      }
    }
    if (chunk.has_usage()) {
      answer.prompt_tokens = chunk.usage().prompt_tokens();
      answer.completion_tokens = chunk.usage().completion_tokens();
      answer.cached_tokens = chunk.usage().prompt_tokens_details().cached_tokens();
    }
  }
  answer.status = stream->Finish();
  answer.seconds = SecondsSince(start);
  {
    const std::lock_guard lock(mutex_);
    active_ = nullptr;
  }
  if (answer.text.empty() && !answer.status.ok()) {
    request_.mutable_messages()->RemoveLast();
  } else {
    AddMessage(v1::ROLE_ASSISTANT, answer.text, &request_);
  }
  return answer;
}

}  // namespace inferd::app
