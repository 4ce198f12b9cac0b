// Chat and completion over a real connection, with an engine played by the test.
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "harness.h"

namespace inferd {
namespace {

FakeEngine::Script Says(const std::string& text, FinishReason reason = FinishReason::kStopToken) {
  return [=](const RequestSpec& spec) {
    std::vector<TokenEvent> all;
    for (int32_t i = 0; i < spec.num_choices; ++i) {
      for (TokenEvent& event : TextEvents(spec.id, text, reason, i)) all.push_back(event);
    }
    return all;
  };
}

TEST(ChatStreamTest, DeliversTextRoleFinishAndUsage) {
  Harness h;
  h.engine->Play(Says("Hello there"));
  const Streamed s = StreamChat(h, Ask("hi"));
  ASSERT_TRUE(s.status.ok()) << s.status.error_message();
  EXPECT_EQ(s.text.at(0), "Hello there");
  EXPECT_EQ(s.finish.at(0), v1::FINISH_REASON_STOP);
  EXPECT_EQ(s.matched.at(0).token_id(), static_cast<uint32_t>(ByteTokenizer::kEos));
  ASSERT_GE(s.chunks.size(), 3U);
  EXPECT_EQ(s.chunks.front().choices(0).delta().role(), v1::ROLE_ASSISTANT);
  for (size_t i = 1; i < s.chunks.size(); ++i) {
    EXPECT_EQ(s.chunks[i].id(), s.chunks[0].id());
    EXPECT_EQ(s.chunks[i].created(), s.chunks[0].created());
    EXPECT_EQ(s.chunks[i].model(), "test-model");
    for (const auto& choice : s.chunks[i].choices()) EXPECT_FALSE(choice.delta().has_role());
  }
  EXPECT_EQ(s.chunks[0].id().rfind("chatcmpl-", 0), 0U);
  // The end has an empty delta; the usage chunk has no choices.
  const auto& end = s.chunks[s.chunks.size() - 2];
  ASSERT_EQ(end.choices_size(), 1);
  EXPECT_FALSE(end.choices(0).delta().has_content());
  EXPECT_FALSE(end.has_usage());
  EXPECT_EQ(s.chunks.back().choices_size(), 0);
  ASSERT_TRUE(s.usage.has_value());
  // "[user]hi;[assistant]" in bytes; eleven letters and the stop token.
  EXPECT_EQ(s.usage->prompt_tokens(), 20);
  EXPECT_EQ(s.usage->completion_tokens(), 12);
  EXPECT_EQ(s.usage->total_tokens(), 32);
}

TEST(ChatStreamTest, UsageCanBeOffOrOnEveryChunk) {
  Harness h;
  h.engine->Play(Says("abc"));
  auto request = Ask("hi");
  request.mutable_stream_options()->set_include_usage(false);
  Streamed s = StreamChat(h, request);
  EXPECT_FALSE(s.usage.has_value());
  EXPECT_EQ(s.chunks.back().choices_size(), 1);
  request.mutable_stream_options()->set_continuous_usage_stats(true);
  s = StreamChat(h, request);
  for (const auto& chunk : s.chunks) EXPECT_TRUE(chunk.has_usage());
}

TEST(ChatStreamTest, PassesTheRequestToTheEngine) {
  Harness h;
  h.engine->Play(Says("x"));
  auto request = Ask("hi");
  request.set_max_completion_tokens(5);
  request.set_temperature(0);
  request.set_seed(-7);
  request.set_priority(3);
  request.set_min_tokens(2);
  request.set_chat_template_kwargs(R"({"thinking": true})");
  ASSERT_TRUE(StreamChat(h, request).status.ok());
  const auto spec = h.engine->WaitForRequest();
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(ByteTokenizer().Decode(spec->prompt, false), "{thinking}[user]hi;[assistant]");
  EXPECT_EQ(spec->stop.max_new_tokens, 5);
  EXPECT_EQ(spec->sampling.temperature, 0.0F);
  EXPECT_EQ(spec->sampling.seed, static_cast<uint64_t>(-7));
  EXPECT_EQ(spec->priority, 3);
  EXPECT_EQ(spec->sampling.min_tokens, 2);
  EXPECT_GT(spec->deadline_us, h.clock.NowUs() + 500'000'000);
}

TEST(ChatStreamTest, StopStringEndsTheChoiceInTheEngine) {
  Harness h;
  auto request = Ask("hi");
  request.add_stop("END");
  OpenChat call(h, request);
  std::vector<TokenEvent> events;
  for (const char c : std::string("a EN b END tail")) events.push_back(Token(call.spec.id, c));
  h.engine->Post(std::move(events));
  EXPECT_TRUE(h.engine->WaitForFinishChoice(call.spec.id, 0));
  const Streamed s = ReadAll(*call.reader);
  ASSERT_TRUE(s.status.ok());
  EXPECT_EQ(s.text.at(0), "a EN b ");
  EXPECT_EQ(s.finish.at(0), v1::FINISH_REASON_STOP);
  EXPECT_EQ(s.matched.at(0).stop_string(), "END");
  EXPECT_EQ(s.usage->completion_tokens(), 10);
}

TEST(ChatStreamTest, ChoicesInterleave) {
  Harness h;
  auto request = Ask("hi");
  request.set_n(3);
  OpenChat call(h, request);
  EXPECT_EQ(call.spec.num_choices, 3);
  for (int round = 0; round < 20; ++round) {
    std::vector<TokenEvent> events;
    for (int32_t c = 0; c < 3; ++c) events.push_back(Token(call.spec.id, 'a' + c, c));
    h.engine->Post(std::move(events));
  }
  h.engine->Post({End(call.spec.id, FinishReason::kLength, -1, 1),
                  End(call.spec.id, FinishReason::kStopToken, ByteTokenizer::kEos, 0),
                  End(call.spec.id, FinishReason::kLength, -1, 2)});
  const Streamed s = ReadAll(*call.reader);
  ASSERT_TRUE(s.status.ok());
  EXPECT_EQ(s.text.at(0), std::string(20, 'a'));
  EXPECT_EQ(s.text.at(1), std::string(20, 'b'));
  EXPECT_EQ(s.text.at(2), std::string(20, 'c'));
  EXPECT_EQ(s.finish.at(0), v1::FINISH_REASON_STOP);
  EXPECT_EQ(s.finish.at(1), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(s.usage->completion_tokens(), 61);
}

TEST(ChatStreamTest, LogprobsAndIdsGoWithTheirText) {
  Harness h;
  h.engine->Play([](const RequestSpec& spec) {
    std::vector<TokenEvent> events = TextEvents(spec.id, "a\xE2\x82\xAC", FinishReason::kStopToken);
    for (TokenEvent& event : events) {
      event.logprob = -0.5F;
      event.top = {{'z', -std::numeric_limits<float>::infinity()}};
    }
    return events;
  });
  auto request = Ask("hi");
  request.set_logprobs(true);
  request.set_top_logprobs(1);
  request.set_return_token_ids(true);
  const Streamed s = StreamChat(h, request);
  ASSERT_TRUE(s.status.ok());
  EXPECT_EQ(s.chunks[0].prompt_token_ids_size(), 20);
  EXPECT_EQ(s.chunks[1].prompt_token_ids_size(), 0);
  std::vector<uint32_t> ids;
  std::string bytes;
  for (const auto& chunk : s.chunks) {
    for (const auto& choice : chunk.choices()) {
      EXPECT_EQ(choice.logprobs().content_size(), choice.token_ids_size());
      ids.insert(ids.end(), choice.token_ids().begin(), choice.token_ids().end());
      std::string of_chunk;
      for (const auto& entry : choice.logprobs().content()) {
        bytes += entry.bytes();
        of_chunk += entry.bytes();
        EXPECT_FLOAT_EQ(entry.logprob(), -0.5F);
        ASSERT_EQ(entry.top_logprobs_size(), 1);
        EXPECT_EQ(entry.top_logprobs(0).logprob(), -9999.0F);
      }
      if (choice.delta().has_content()) {
        EXPECT_EQ(of_chunk, choice.delta().content());
      }
    }
  }
  EXPECT_EQ(ids, (std::vector<uint32_t>{'a', 0xE2, 0x82, 0xAC, ByteTokenizer::kEos}));
  EXPECT_EQ(bytes, "a\xE2\x82\xAC<eos>");
}

TEST(ChatStreamTest, ASlowReaderGetsFewerAndLargerChunks) {
  Harness h;
  auto request = Ask("hi");
  request.set_max_completion_tokens(900);
  OpenChat call(h, request);
  // All at once: only one write can be out at a time, the rest merges.
  for (int i = 0; i < 900; ++i) h.engine->Post({Token(call.spec.id, 'x')});
  h.engine->Post({End(call.spec.id, FinishReason::kLength)});
  const Streamed s = ReadAll(*call.reader);
  ASSERT_TRUE(s.status.ok());
  EXPECT_EQ(s.text.at(0), std::string(900, 'x'));
  EXPECT_LE(s.chunks.size(), 903U);
}

TEST(ChatStreamTest, TimeLimitGivesAPartialAnswer) {
  Harness h;
  auto request = Ask("hi");
  request.set_time_limit_ms(60'000);
  OpenChat call(h, request);
  EXPECT_LT(call.spec.deadline_us, h.clock.NowUs() + 61'000'000);
  h.engine->Post(TextEvents(call.spec.id, "part", FinishReason::kDeadline));
  const Streamed s = ReadAll(*call.reader);
  ASSERT_TRUE(s.status.ok());
  EXPECT_EQ(s.text.at(0), "part");
  EXPECT_EQ(s.finish.at(0), v1::FINISH_REASON_TIME_LIMIT);
}

TEST(ChatStreamTest, TokensBeforeAnEngineFailureArrive) {
  Harness h;
  h.engine->Play(Says("partial", FinishReason::kEngineDead));
  const Streamed s = StreamChat(h, Ask("hi"));
  EXPECT_EQ(s.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(s.status), "ENGINE_DEAD");
  EXPECT_EQ(s.text.at(0), "partial");
  EXPECT_EQ(h.server->state(), ServerState::kFailed);
}

TEST(ChatUnaryTest, GivesTheWholeAnswerAndMetadata) {
  Harness h;
  h.engine->Play(Says("Hello"));
  auto request = Ask("hi");
  request.set_n(2);
  request.set_logprobs(true);
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "my-id");
  v1::ChatCompletion answer;
  const grpc::Status status = h.chat->CreateChatCompletion(&context, request, &answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(answer.choices_size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(answer.choices(i).index(), i);
    EXPECT_EQ(answer.choices(i).message().content(), "Hello");
    EXPECT_EQ(answer.choices(i).message().role(), v1::ROLE_ASSISTANT);
    EXPECT_EQ(answer.choices(i).finish_reason(), v1::FINISH_REASON_STOP);
    EXPECT_EQ(answer.choices(i).logprobs().content_size(), 6);
  }
  EXPECT_EQ(answer.usage().completion_tokens(), 12);
  EXPECT_EQ(context.GetServerInitialMetadata().find("x-request-id")->second, "my-id");
  EXPECT_EQ(context.GetServerInitialMetadata().count("x-server-instance"), 1U);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("x-ttft-ms"), 1U);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("x-queue-time-ms"), 1U);
}

TEST(CompletionTest, EchoesTextAndTokens) {
  Harness h;
  h.engine->Play(Says(" world", FinishReason::kLength));
  v1::CompletionRequest request;
  request.set_text("hello");
  request.set_echo(true);
  v1::Completion answer;
  grpc::ClientContext context;
  ASSERT_TRUE(h.completion->CreateCompletion(&context, request, &answer).ok());
  EXPECT_EQ(answer.choices(0).text(), "hello world");
  EXPECT_EQ(answer.id().rfind("cmpl-", 0), 0U);
  auto spec = h.engine->WaitForRequest();
  EXPECT_EQ(spec->prompt.front(), ByteTokenizer::kBos);
  EXPECT_EQ(spec->stop.max_new_tokens, 16);

  request.mutable_token_ids()->add_ids(ByteTokenizer::kHello);
  grpc::ClientContext second;
  auto reader = h.completion->StreamCompletion(&second, request);
  std::string text;
  v1::CompletionChunk chunk;
  while (reader->Read(&chunk)) {
    for (const auto& choice : chunk.choices()) text += choice.text();
  }
  ASSERT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text, "hello world");
  spec = h.engine->WaitForRequest();
  EXPECT_EQ(spec->prompt, std::vector<TokenId>{ByteTokenizer::kHello});
}

TEST(TokenizerServiceTest, TokenizesDetokenizesAndRenders) {
  Harness h;
  auto stub = v1::TokenizerService::NewStub(h.channel);
  v1::TokenizeRequest tokenize;
  tokenize.set_text("hi");
  tokenize.set_return_token_strings(true);
  v1::TokenizeResponse tokens;
  grpc::ClientContext one;
  ASSERT_TRUE(stub->Tokenize(&one, tokenize, &tokens).ok());
  EXPECT_EQ(tokens.count(), 3);
  EXPECT_EQ(tokens.token_bytes(0), "<bos>");
  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_token_ids() = tokens.token_ids();
  v1::DetokenizeResponse text;
  grpc::ClientContext two;
  ASSERT_TRUE(stub->Detokenize(&two, detokenize, &text).ok());
  EXPECT_EQ(text.text(), "hi");
  v1::RenderChatRequest render;
  *render.mutable_request() = Ask("hi");
  v1::RenderChatResponse rendered;
  grpc::ClientContext three;
  ASSERT_TRUE(stub->RenderChat(&three, render, &rendered).ok());
  EXPECT_EQ(rendered.prompt(), "[user]hi;[assistant]");
  EXPECT_EQ(rendered.token_ids_size(), 20);
  detokenize.add_token_ids(300);
  grpc::ClientContext four;
  EXPECT_EQ(ReasonOf(stub->Detokenize(&four, detokenize, &text)), "INVALID_TOKEN_ID");
}

TEST(TokenizerServiceTest, BoundsTheTextThatTokensStandFor) {
  ServerOptions options = TestOptions();
  options.limits.max_text_bytes = 10;
  Harness h(options);
  auto stub = v1::TokenizerService::NewStub(h.channel);
  v1::DetokenizeRequest request;
  request.add_token_ids(ByteTokenizer::kHello);
  request.add_token_ids(ByteTokenizer::kHello);
  v1::DetokenizeResponse response;
  grpc::ClientContext one;
  ASSERT_TRUE(stub->Detokenize(&one, request, &response).ok());
  EXPECT_EQ(response.text(), "hellohello");
  request.add_token_ids('!');
  grpc::ClientContext two;
  const grpc::Status status = stub->Detokenize(&two, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INVALID_PARAMETER");
}

}  // namespace
}  // namespace inferd
