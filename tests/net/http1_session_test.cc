// HTTP/1.1 over real sockets: answers, streams, and clients that go away.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "http1_harness.h"
#include "raw_client.h"

namespace inferd::net {
namespace {

constexpr const char* kHold = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";

std::string Get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

HttpResponse Head(const std::string& type = "text/event-stream") {
  HttpResponse head;
  head.content_type = type;
  return head;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Http1SessionTest, AnswersWithWhatTheHandlerSaid) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(
      "POST /echo?q=1 HTTP/1.1\r\nHost: x\r\nX-Thing: y \r\nContent-Length: 5\r\n\r\nhello"));
  const std::string answer = client.ReadAnswer();
  EXPECT_EQ(answer.rfind("HTTP/1.1 200 OK\r\n", 0), 0U) << answer;
  EXPECT_TRUE(Has(answer, "\r\ncontent-type: text/plain\r\n"));
  EXPECT_TRUE(Has(answer, "\r\nconnection: keep-alive\r\n"));
  EXPECT_TRUE(Has(answer, " GMT\r\n"));
  EXPECT_TRUE(Has(answer, "\r\nx-peer: 127.0.0.1:"));
  EXPECT_TRUE(Has(answer, "POST /echo q=1 x-thing=y hello")) << answer;
}

TEST(Http1SessionTest, PipelinedRequestsAreAnsweredInOrder) {
  Http1Harness harness;
  RawClient client(harness.port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += Get("/echo" + std::to_string(i));
  ASSERT_TRUE(client.Send(all));
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(Has(client.ReadAnswer(), "GET /echo" + std::to_string(i) + " "));
  }
  EXPECT_EQ(harness.listener().Stats().http1_requests, 50);
  EXPECT_EQ(harness.listener().Stats().accepted, 1);
}

TEST(Http1SessionTest, TheNextPipelinedRequestWaitsForTheAnswerBefore) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(Get("/hold1") + Get("/hold2")));
  auto first = harness.TakeHeld();
  ASSERT_EQ(first.request.path, "/hold1");
  EXPECT_EQ(harness.listener().Stats().http1_requests, 1);
  first.exchange->Respond({});
  EXPECT_EQ(harness.TakeHeld().request.path, "/hold2");
}

TEST(Http1SessionTest, ChunkedBodiesArrive) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
  ASSERT_TRUE(
      client.Send("5;a=b\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-Trailer: z\r\n\r\n"));
  EXPECT_TRUE(Has(client.ReadAnswer(), "hello 0123456789"));
}

TEST(Http1SessionTest, ExpectContinueIsAnsweredWhenTheBodyIsAwaited) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(
      client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  "Content-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.Send("ab"));
  EXPECT_TRUE(Has(client.ReadAnswer(), " ab"));
}

TEST(Http1SessionTest, HeadGetsNoBody) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n" + Get("/echo")));
  const std::string head = client.ReadUntil("\r\n\r\n");
  EXPECT_TRUE(Has(head, "content-length: 21\r\n")) << head;
  EXPECT_EQ(client.ReadAnswer().rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
}

TEST(Http1SessionTest, HeadOfAStreamGetsItsHeadAlone) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("HEAD /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("never seen");
  ASSERT_TRUE(held.events->AwaitWritten(1));
  held.exchange->Finish(true);
  ASSERT_TRUE(client.Send(Get("/echo")));
  EXPECT_TRUE(Has(client.ReadUntil("\r\n\r\n"), "text/event-stream"));
  EXPECT_EQ(client.ReadAnswer().rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
}

TEST(Http1SessionTest, AStreamIsChunkedAndTheConnectionGoesOn) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("data: 1\n\n");
  EXPECT_TRUE(Has(client.ReadUntil("9\r\ndata: 1\n\n\r\n"), "transfer-encoding: chunked\r\n"));
  ASSERT_TRUE(held.events->AwaitWritten(1));
  held.exchange->Write("");  // nothing to say must not look like the end
  ASSERT_TRUE(held.events->AwaitWritten(2));
  held.exchange->Write("x");
  ASSERT_TRUE(held.events->AwaitWritten(3));
  held.exchange->Finish(true);
  EXPECT_EQ(client.ReadUntil("0\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n");
  ASSERT_TRUE(client.Send(Get("/echo")));
  EXPECT_TRUE(Has(client.ReadAnswer(), "GET /echo"));
  EXPECT_EQ(held.events->disconnects(), 0);
}

TEST(Http1SessionTest, AnErrorMayStillComeBeforeTheFirstWrite) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  HttpResponse error;
  error.status = 429;
  error.headers.emplace_back("retry-after", "3");
  held.exchange->Respond(std::move(error));
  const std::string answer = client.ReadAnswer();
  EXPECT_TRUE(Has(answer, "HTTP/1.1 429 Too Many Requests\r\n"));
  EXPECT_TRUE(Has(answer, "\r\nretry-after: 3\r\n"));
}

TEST(Http1SessionTest, Http10StreamsEndWithTheConnection) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("abc");
  ASSERT_TRUE(held.events->AwaitWritten(1));
  held.exchange->Finish(true);
  const std::string answer = client.ReadAll();
  EXPECT_FALSE(Has(answer, "chunked"));
  EXPECT_TRUE(Has(answer, "connection: close\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\nabc")) << answer;
}

TEST(Http1SessionTest, ABrokenStreamEndsWithoutTheLastChunk) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("abc");
  ASSERT_TRUE(held.events->AwaitWritten(1));
  held.exchange->Finish(false);
  const std::string answer = client.ReadAll();
  EXPECT_TRUE(answer.ends_with("3\r\nabc\r\n")) << answer;
}

TEST(Http1SessionTest, ADroppedExchangeIsAnInternalError) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(Get("/drop")));
  EXPECT_TRUE(Has(client.ReadAnswer(), "HTTP/1.1 500 "));
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("abc");
  ASSERT_TRUE(held.events->AwaitWritten(1));
  held.exchange.reset();
  EXPECT_TRUE(client.ReadAll().ends_with("3\r\nabc\r\n"));
}

TEST(Http1SessionTest, AHeaderCannotSplitTheAnswer) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  HttpResponse response;
  response.headers.emplace_back("x-a", "b\r\nset-cookie: evil");
  response.headers.emplace_back("Content-Length", "0");
  response.headers.emplace_back("x-b", "kept");
  response.body = "body";
  harness.TakeHeld().exchange->Respond(std::move(response));
  const std::string answer = client.ReadAnswer();
  EXPECT_FALSE(Has(answer, "evil"));
  EXPECT_TRUE(Has(answer, "x-b: kept\r\n"));
  EXPECT_TRUE(Has(answer, "content-length: 4\r\n"));
}

TEST(Http1SessionTest, ACloseWhileAnsweringIsADisconnect) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  client.Close();
  EXPECT_TRUE(held.events->AwaitDisconnect());
  held.exchange->Respond({});  // too late; does nothing
  EXPECT_TRUE(harness.AwaitConnections(0));
  EXPECT_EQ(held.events->disconnects(), 1);
}

TEST(Http1SessionTest, AResetWhileStreamingIsADisconnect) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write("abc");
  ASSERT_TRUE(held.events->AwaitWritten(1));
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  client.Close();
  EXPECT_TRUE(held.events->AwaitDisconnect());
  EXPECT_TRUE(harness.AwaitConnections(0));
}

TEST(Http1SessionTest, AHalfCloseCountsAsADisconnectUnlessTheAnswerIsImmediate) {
  Http1Harness harness;
  RawClient held_client(harness.port());
  ASSERT_TRUE(held_client.Send(kHold));
  auto held = harness.TakeHeld();
  held_client.HalfClose();
  EXPECT_TRUE(held.events->AwaitDisconnect());
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(Get("/echo")));
  client.HalfClose();
  EXPECT_TRUE(Has(client.ReadAll(), "GET /echo"));
}

TEST(Http1SessionTest, AClientThatTakesNothingIsGivenUp) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.write_stall_timeout_ms = 200;
  Http1Harness harness(options);
  RawClient client(harness.port(), /*receive_buffer_bytes=*/4096);
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write(std::string(16 << 20, 'x'));
  EXPECT_TRUE(held.events->AwaitDisconnect());
  EXPECT_EQ(held.events->written(), 0);
  EXPECT_EQ(held.events->failed(), 1);
  EXPECT_EQ(harness.listener().Stats().stalled, 1);
  EXPECT_TRUE(harness.AwaitConnections(0));
}

TEST(Http1SessionTest, AWriteOutOfTurnEndsTheConnection) {
  Http1Harness harness;
  RawClient client(harness.port(), /*receive_buffer_bytes=*/4096);
  ASSERT_TRUE(client.Send(kHold));
  auto held = harness.TakeHeld();
  held.exchange->StartStream(Head());
  held.exchange->Write(std::string(16 << 20, 'x'));
  held.exchange->Write("before the first is written");
  EXPECT_TRUE(held.events->AwaitDisconnect());
}

TEST(Http1SessionTest, SlowHeadsAndBodiesGet408) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.header_timeout_ms = 150;
  options.body_timeout_ms = 150;
  Http1Harness harness(options);
  RawClient head(harness.port());
  RawClient body(harness.port());
  ASSERT_TRUE(head.Send("GET /echo HTTP/1.1\r\nHost:"));
  ASSERT_TRUE(body.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"));
  EXPECT_TRUE(Has(head.ReadAll(), "HTTP/1.1 408 "));
  EXPECT_TRUE(Has(body.ReadAll(), "HTTP/1.1 408 "));
  EXPECT_EQ(harness.listener().Stats().timed_out, 2);
}

TEST(Http1SessionTest, ADripOfBodyBytesIsNoProgress) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.body_timeout_ms = 200;
  Http1Harness harness(options);
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"));
  for (int i = 0; i < 100 && client.Send("x"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(Has(client.ReadAll(), "HTTP/1.1 408 "));
}

TEST(Http1SessionTest, IdleConnectionsAreClosedWithoutAWord) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.idle_timeout_ms = 150;
  Http1Harness harness(options);
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(Get("/echo")));
  EXPECT_TRUE(Has(client.ReadAnswer(), "200 OK"));
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_EQ(harness.listener().Stats().timed_out, 0);
}

TEST(Http1SessionTest, BodiesOfAllConnectionsTogetherAreBounded) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.max_pending_body_bytes = 6'000;  // past the first 64 KiB of each
  Http1Harness harness(options);
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n";
  RawClient first(harness.port());
  RawClient second(harness.port());
  ASSERT_TRUE(first.Send(head + std::string(69'999, 'a')));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(second.Send(head + std::string(69'999, 'a')));
  EXPECT_TRUE(Has(second.ReadAnswer(), "HTTP/1.1 503 "));
  // Whoever holds large bodies back keeps nobody from small ones.
  RawClient small(harness.port());
  ASSERT_TRUE(small.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" +
                         std::string(60'000, 'b')));
  EXPECT_TRUE(Has(small.ReadAnswer(), "200 OK"));
  ASSERT_TRUE(first.Send("a"));
  EXPECT_TRUE(Has(first.ReadAnswer(), "200 OK"));
  RawClient third(harness.port());  // what was taken is given back
  ASSERT_TRUE(third.Send(head + std::string(70'000, 'a')));
  EXPECT_TRUE(Has(third.ReadAnswer(), "200 OK"));
}

TEST(Http1SessionTest, ADeclaredBodyPastTheLimitIsRefusedUnread) {
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.max_body_bytes = 1000;
  Http1Harness harness(options);
  RawClient client(harness.port());
  ASSERT_TRUE(
      client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  "Content-Length: 1001\r\n\r\n"));
  const std::string answer = client.ReadAll();
  EXPECT_EQ(answer.rfind("HTTP/1.1 413 ", 0), 0U) << answer;
  EXPECT_TRUE(Has(answer, "connection: close\r\n"));
}

TEST(Http1SessionTest, TheReasonReachesAClientThatIsStillSending) {
  Http1Harness harness;
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"));
  client.Send(std::string(2 << 20, 'x'));
  EXPECT_TRUE(Has(client.ReadAll(), "HTTP/1.1 413 "));
}

TEST(Http1SessionTest, HundredsOfStreamsLiveOnOneThread) {
  Http1Harness harness;
  constexpr int kStreams = 200;
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<Http1Harness::Held> held;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<RawClient>(harness.port()));
    ASSERT_TRUE(clients.back()->Send(kHold));
    held.push_back(harness.TakeHeld());
    held.back().exchange->StartStream(Head());
  }
  for (int round = 1; round <= 5; ++round) {
    for (auto& each : held) each.exchange->Write("data: token\n\n");
    for (auto& each : held) ASSERT_TRUE(each.events->AwaitWritten(round));
  }
  for (auto& each : held) each.exchange->Finish(true);
  for (auto& client : clients)
    EXPECT_TRUE(client->ReadUntil("\r\n0\r\n\r\n").ends_with("\r\n0\r\n\r\n"));
}

}  // namespace
}  // namespace inferd::net
