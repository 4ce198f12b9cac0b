#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "app/command_line.h"
#include "grpcpp/grpcpp.h"
#include "inferd/v1/chat.grpc.pb.h"

namespace inferd::app {

// One conversation with a daemon. Ask and Reset are for one thread; Cancel may
// be called by any.
class ChatSession {
 public:
  struct Answer {
    grpc::Status status;
    std::string text;
    v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;
    int prompt_tokens = 0;
    int completion_tokens = 0;
    int cached_tokens = 0;
    double first_token_seconds = 0;
    double seconds = 0;
  };
  // Receives the answer piece by piece.
  using OnText = std::function<void(std::string_view)>;

  // `stub` must outlive this.
  ChatSession(v1::ChatService::StubInterface& stub, const ChatArguments& arguments);

  // Sends the conversation so far and `text`, and waits for the answer. The
  // exchange joins the conversation unless nothing was answered.
  Answer Ask(const std::string& text, const OnText& on_text);
  // Ends the answer under way; false when there is none.
  bool Cancel();
  // Forgets the conversation; the system message stays.
  void Reset();

  int num_messages() const { return request_.messages_size(); }

 private:
  const ChatArguments arguments_;
  v1::ChatService::StubInterface& stub_;
  v1::ChatCompletionRequest request_;  // the conversation and the sampling options
  std::mutex mutex_;
  grpc::ClientContext* active_ = nullptr;  // guarded by mutex_
};

// `inferd chat`; returns the exit code.
int RunChat(ChatArguments arguments);

}  // namespace inferd::app
