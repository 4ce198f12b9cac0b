// ChatSession against a service in this process.
#include "app/chat_session.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "app/client.h"
#include "gtest/gtest.h"

namespace inferd::app {
namespace {

// Answers with the number of messages and the last user text, in two pieces;
// "wait" keeps the stream open until it is cancelled, "fail" answers an error.
class EchoService final : public v1::ChatService::Service {
 public:
  grpc::Status StreamChatCompletion(grpc::ServerContext* context,
                                    const v1::ChatCompletionRequest* request,
                                    grpc::ServerWriter<v1::ChatCompletionChunk>* writer) override {
    last = *request;
    const std::string& text = request->messages(request->messages_size() - 1).content(0).text();
    if (text == "fail") return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full"};
    Send(writer, std::to_string(request->messages_size()) + ":");
    if (text == "wait") {
      started = true;
      while (!context->IsCancelled()) std::this_thread::yield();
      return grpc::Status::CANCELLED;
    }
    Send(writer, text);
    v1::ChatCompletionChunk end;
    end.add_choices()->set_finish_reason(v1::FINISH_REASON_STOP);
    writer->Write(end);
    v1::ChatCompletionChunk usage;
    usage.mutable_usage()->set_prompt_tokens(7);
    usage.mutable_usage()->set_completion_tokens(3);
    writer->Write(usage);
    return grpc::Status::OK;
  }

  v1::ChatCompletionRequest last;
  std::atomic<bool> started{false};

 private:
  static void Send(grpc::ServerWriter<v1::ChatCompletionChunk>* writer, const std::string& text) {
    v1::ChatCompletionChunk chunk;
    chunk.add_choices()->mutable_delta()->set_content(text);
    writer->Write(chunk);
  }
};

class ChatSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    arguments_.client.address = "127.0.0.1:" + std::to_string(port);
    arguments_.client.timeout_ms = 30'000;
    stub_ = v1::ChatService::NewStub(*MakeChannel(arguments_.client));
  }
  void TearDown() override { server_->Shutdown(); }

  static ChatSession::Answer Ask(ChatSession& session, const std::string& text) {
    return session.Ask(text, [](std::string_view) {});
  }

  EchoService service_;
  std::unique_ptr<grpc::Server> server_;
  ChatArguments arguments_;
  std::unique_ptr<v1::ChatService::Stub> stub_;
};

TEST_F(ChatSessionTest, KeepsTheConversation) {
  arguments_.system = "be brief";
  ChatSession session(*stub_, arguments_);
  std::string streamed;
  const ChatSession::Answer first =
      session.Ask("one", [&](std::string_view piece) { streamed += piece; });
  EXPECT_TRUE(first.status.ok());
  EXPECT_EQ(first.text, "2:one");
  EXPECT_EQ(streamed, first.text);
  EXPECT_EQ(first.finish, v1::FINISH_REASON_STOP);
  EXPECT_EQ(first.prompt_tokens, 7);
  EXPECT_EQ(Ask(session, "two").text, "4:two");
  EXPECT_EQ(service_.last.messages(0).role(), v1::ROLE_SYSTEM);
  EXPECT_EQ(service_.last.messages(2).content(0).text(), "2:one");
  session.Reset();
  EXPECT_EQ(Ask(session, "three").text, "2:three");
}

TEST_F(ChatSessionTest, AFailedQuestionLeavesTheConversationAlone) {
  ChatSession session(*stub_, arguments_);
  EXPECT_EQ(Ask(session, "fail").status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(session.num_messages(), 0);
  EXPECT_EQ(Ask(session, "again").text, "1:again");
}

TEST_F(ChatSessionTest, CancelEndsTheAnswerAndKeepsItsBeginning) {
  ChatSession session(*stub_, arguments_);
  EXPECT_FALSE(session.Cancel());
  std::thread canceller([&] {
    while (!service_.started) std::this_thread::yield();
    EXPECT_TRUE(session.Cancel());
  });
  const ChatSession::Answer answer = Ask(session, "wait");
  canceller.join();
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_FALSE(session.Cancel());
  EXPECT_EQ(session.num_messages(), answer.text.empty() ? 0 : 2);
}

TEST_F(ChatSessionTest, UnsetOptionsStayUnset) {
  ChatSession plain(*stub_, arguments_);
  EXPECT_TRUE(Ask(plain, "x").status.ok());
  EXPECT_FALSE(service_.last.has_temperature());
  EXPECT_FALSE(service_.last.has_seed());
  EXPECT_FALSE(service_.last.has_max_completion_tokens());
  arguments_.sampling.temperature = 0;
  arguments_.sampling.seed = 0;
  arguments_.sampling.max_tokens = 5;
  arguments_.sampling.stop = {"s"};
  ChatSession chosen(*stub_, arguments_);
  EXPECT_TRUE(Ask(chosen, "x").status.ok());
  EXPECT_TRUE(service_.last.has_temperature());
  EXPECT_TRUE(service_.last.has_seed());
  EXPECT_EQ(service_.last.max_completion_tokens(), 5);
  EXPECT_EQ(service_.last.stop(0), "s");
}

TEST_F(ChatSessionTest, NoServer) {
  arguments_.client.address = "127.0.0.1:1";
  const auto stub = v1::ChatService::NewStub(*MakeChannel(arguments_.client));
  ChatSession session(*stub, arguments_);
  EXPECT_EQ(Ask(session, "x").status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace inferd::app
