// Real gRPC clients through the listener.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "grpc_harness.h"
#include "raw_client.h"

namespace inferd::net {
namespace {

ListenerOptions Options() {
  ListenerOptions options;
  options.address = "127.0.0.1:0";
  return options;
}

TEST(Http2PumpTest, GrpcServesWhatTheListenerHandsOverAndLearnsThePeer) {
  GrpcHarness harness(Options());
  grpc::GenericStub stub(PlainChannel(harness.port()));
  const EchoResult result = Echo(stub, "hello");
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer, "hello");
  EXPECT_EQ(PeerOfHttp2(result.peer).rfind("127.0.0.1:", 0), 0U) << result.peer;
  EXPECT_EQ(harness.listener().Stats().http2_connections, 1);
}

TEST(Http2PumpTest, MessagesOfMegabytesPassBothWays) {
  GrpcHarness harness(Options());
  grpc::GenericStub stub(PlainChannel(harness.port()));
  std::string large(3 << 20, ' ');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
  // Long enough for both sides to adapt their windows, which takes SETTINGS and PINGs.
  for (int i = 0; i < 40; ++i) {
    const EchoResult result = Echo(stub, large);
    ASSERT_TRUE(result.status.ok()) << result.status.error_message();
    EXPECT_TRUE(result.answer == large);
  }
}

TEST(Http2PumpTest, SixtyFourConcurrentStreamsOfOneConnectionPass) {
  GrpcHarness harness(Options());
  grpc::GenericStub stub(PlainChannel(harness.port()));
  std::atomic<int> messages{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] { messages += Count(stub, 300); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(messages, 64 * 300);
  EXPECT_EQ(harness.listener().Stats().http2_connections, 1);
  for (const int64_t count : harness.listener().Stats().http2_violations) EXPECT_EQ(count, 0);
}

TEST(Http2PumpTest, Http1AndHttp2ShareThePort) {
  GrpcHarness harness(Options());
  grpc::GenericStub stub(PlainChannel(harness.port()));
  EXPECT_TRUE(Echo(stub, "x").status.ok());
  RawClient http(harness.port());
  ASSERT_TRUE(http.Send("GET /path HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_NE(http.ReadAnswer().find("\r\n\r\n/path"), std::string::npos);
}

TEST(Http2PumpTest, StoppingSendsSleepersAwayButCutsNoStream) {
  GrpcHarness harness(Options());
  RawClient sleeper(harness.port());
  const std::string settings = Http2Frame(4, 0, 0, "");
  ASSERT_TRUE(sleeper.Send(std::string(kHttp2Preface) + settings));
  const std::string acknowledged = Http2Frame(4, 1, 0, "");
  ASSERT_TRUE(sleeper.ReadUntil(acknowledged).ends_with(acknowledged));
  grpc::GenericStub stub(PlainChannel(harness.port()));
  std::thread streaming([&] { EXPECT_EQ(Count(stub, 50'000), 50'000); });
  while (harness.listener().AwaitIdle(0)) std::this_thread::yield();
  harness.listener().StopAccepting();
  // No stream was served, and there was no error.
  const std::string goaway = Http2Frame(7, 0, 0, std::string(8, '\0'));
  EXPECT_TRUE(sleeper.ReadUntil(goaway, 2'000).ends_with(goaway));
  EXPECT_TRUE(sleeper.AwaitClose(2'000));
  streaming.join();
  EXPECT_TRUE(harness.listener().Close(2'000));
}

}  // namespace
}  // namespace inferd::net
