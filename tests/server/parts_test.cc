// The small parts: error mapping, access lines, ids, UTF-8, accounting, router.
#include <atomic>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/access_log.h"
#include "server/accounting.h"
#include "server/errors.h"
#include "server/event_router.h"
#include "server/grpc_status.h"
#include "server/utf8.h"
#include "server/worker_pool.h"

namespace inferd {
namespace {

TEST(GrpcStatusTest, KeepsCodeMessageAndDetails) {
  const grpc::Status status = ToGrpcStatus(QueueFullError("the queue"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status rich;
  ASSERT_TRUE(rich.ParseFromString(status.error_details()));
  EXPECT_EQ(rich.code(), 8);
  ASSERT_EQ(rich.details_size(), 2);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rich.details(0).UnpackTo(&info));
  EXPECT_EQ(rich.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "inferd");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(rich.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
}

TEST(GrpcStatusTest, StaysBelowTheTrailerLimit) {
  ErrorDetail detail;
  detail.reason = "X";
  detail.field = std::string(100'000, 'f');
  for (int i = 0; i < 100; ++i)
    detail.metadata.emplace_back(std::to_string(i), std::string(9999, 'v'));
  const Status status(StatusCode::kInvalidArgument, std::string(1 << 20, 'm'), detail);
  const grpc::Status converted = ToGrpcStatus(status);
  EXPECT_LT(converted.error_details().size() + converted.error_message().size(), 8192U);
}

TEST(GrpcStatusTest, OkAndPlainStatuses) {
  EXPECT_TRUE(ToGrpcStatus(OkStatus()).ok());
  const grpc::Status plain = ToGrpcStatus(InternalError("x"));
  EXPECT_EQ(plain.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_TRUE(plain.error_details().empty());
}

TEST(AccessLogTest, EscapesWhatClientsSend) {
  CallerInfo caller;
  caller.method = RpcMethod::kStreamChatCompletion;
  caller.request_id = "id\"\n\x1b[31m";
  caller.peer = "ipv4:1.2.3.4:5";
  AccessRecord record{caller, "m"};
  record.e2e_us = 1500;
  record.summary.usage = {10, 5, 3};
  record.finish_reason = "stop";
  const std::string text = FormatAccessLine(record, /*json=*/false);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("completion_tokens=3"), std::string::npos) << text;
  const auto json = nlohmann::json::parse(FormatAccessLine(record, /*json=*/true));
  EXPECT_EQ(json["request_id"], caller.request_id);
  EXPECT_EQ(json["method"], "ChatService/StreamChatCompletion");
  EXPECT_EQ(json["code"], "OK");
  EXPECT_EQ(json["prompt_tokens"], 10);
  EXPECT_EQ(json["cached_tokens"], 5);
  EXPECT_EQ(json["e2e_ms"], 1.5);
  EXPECT_FALSE(json.contains("ttft_ms"));
}

TEST(AccessLogTest, RequestIds) {
  EXPECT_TRUE(IsValidRequestId("abc-123"));
  EXPECT_TRUE(IsValidRequestId(std::string(128, 'x')));
  EXPECT_FALSE(IsValidRequestId(std::string(129, 'x')));
  EXPECT_FALSE(IsValidRequestId(""));
  EXPECT_FALSE(IsValidRequestId("a b"));
  EXPECT_FALSE(IsValidRequestId("a\nb"));
  EXPECT_FALSE(IsValidRequestId("\xC3\xA9"));
}

TEST(Utf8Test, ReplacesMaximalSubparts) {
  EXPECT_EQ(LossyUtf8("a\xE2\x82\xAC"), "a\xE2\x82\xAC");
  EXPECT_EQ(LossyUtf8("\xE2\x82"), "\xEF\xBF\xBD");
  EXPECT_EQ(LossyUtf8("\xE2\x82z"), "\xEF\xBF\xBDz");
  EXPECT_EQ(LossyUtf8("\xFF\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(LossyUtf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(LossyUtf8("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

TEST(ExcerptTest, CutsAtCodePoints) {
  EXPECT_EQ(Excerpt("ab\xE2\x82\xAC", 4), "ab");
  EXPECT_EQ(Excerpt("ab", 4), "ab");
}

TEST(AccountingTest, ConservesUnderThreads) {
  Accounting accounting;
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      const RequestCounts c = accounting.Snapshot();
      ASSERT_EQ(c.accepted, c.finished + c.failed + c.cancelled + c.live);
    }
  });
  std::vector<std::thread> writers;
  for (int t = 0; t < 3; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        if (accounting.TryAccept()) accounting.End(static_cast<CallOutcome>((i + t) % 3));
      }
    });
  }
  for (auto& writer : writers) writer.join();
  stop = true;
  reader.join();
  EXPECT_TRUE(accounting.WaitIdle(std::chrono::milliseconds(0)));
  accounting.Close();
  EXPECT_FALSE(accounting.TryAccept());
  EXPECT_EQ(accounting.Snapshot().accepted, 6000U);
}

class Collector final : public EventTarget {
 public:
  void OnEvent(TokenEvent&& event) override { tokens.push_back(event.token); }
  void OnBatchEnd() override { ++batches; }
  void Abort(const Status& status) override { aborted = status; }
  LiveRequest Describe() const override { return {}; }
  std::vector<TokenId> tokens;
  std::atomic<int> batches{0};
  Status aborted;
};

TEST(EventRouterTest, KeepsOrderPerRequestOverSeveralThreads) {
  auto a = std::make_shared<Collector>();
  auto b = std::make_shared<Collector>();
  {
    EventRouter router(3);
    router.Register(1, a);
    router.Register(2, b);
    for (TokenId i = 0; i < 500; ++i) {
      std::vector<TokenEvent> events(3);
      for (size_t r = 0; r < 3; ++r) {
        events[r].request = r + 1;  // 3 is nobody's: dropped
        events[r].token = i;
      }
      router.Post(std::move(events));
    }
  }  // what was posted is delivered before the threads stop
  ASSERT_EQ(a->tokens.size(), 500U);
  ASSERT_EQ(b->tokens.size(), 500U);
  for (TokenId i = 0; i < 500; ++i) EXPECT_EQ(a->tokens[static_cast<size_t>(i)], i);
  EXPECT_GE(a->batches.load(), 1);
}

TEST(EventRouterTest, DropsEventsOfUnregisteredRequests) {
  auto target = std::make_shared<Collector>();
  EventRouter router(1);
  router.Register(1, target);
  router.Unregister(1);
  router.Unregister(1);
  EXPECT_EQ(target.use_count(), 1);
  router.AbortAll(DrainingError());
  EXPECT_TRUE(target->aborted.ok());
}

TEST(WorkerPoolTest, RefusesWhatDoesNotFitAndRunsTheRest) {
  std::atomic<int> ran{0};
  {
    std::mutex gate;
    std::unique_lock hold(gate);
    WorkerPool pool(1, 2);
    std::atomic<bool> started{false};
    ASSERT_TRUE(pool.TryRun([&] {
      started = true;
      std::lock_guard wait(gate);
      ++ran;
    }));
    while (!started) std::this_thread::yield();
    EXPECT_TRUE(pool.TryRun([&] { ++ran; }));
    EXPECT_TRUE(pool.TryRun([&] { ++ran; }));
    EXPECT_FALSE(pool.TryRun([&] { ++ran; }));
    hold.unlock();
  }
  EXPECT_EQ(ran.load(), 3);
}

}  // namespace
}  // namespace inferd
