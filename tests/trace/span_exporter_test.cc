// The exporter against a collector in this process.
#include "inferd/trace/span_exporter.h"

#include "gtest/gtest.h"
#include "trace/fake_collector.h"

namespace inferd {
namespace {

std::unique_ptr<SpanExporter> StartFor(const std::string& endpoint, int max_queued = 2048) {
  SpanExporter::Options options;
  options.endpoint = endpoint;
  options.version = "1.2.3";
  options.instance_id = "the-instance";
  options.max_queued = max_queued;
  options.interval_ms = 20;
  return SpanExporter::Start(options, std::make_shared<spdlog::logger>("test"));
}

Span SomeSpan(const std::string& name = "chat m") {
  Span span;
  span.context = {"0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true};
  span.span_id = "00f067aa0ba902b7";
  span.name = name;
  span.start_unix_us = 1'700'000'000'000'001;
  span.end_unix_us = 1'700'000'000'500'002;
  span.attributes = {{"a", std::string("text")}, {"b", int64_t{-7}}, {"c", 0.5}, {"d", true}};
  return span;
}

TEST(SpanExporter, SendsWhatACollectorUnderstands) {
  FakeCollector collector;
  const auto exporter = StartFor("http://" + collector.address());
  Span failed = SomeSpan("failed");
  failed.failed = true;
  failed.message = "too slow";
  failed.context.parent_span_id.clear();
  exporter->Export(SomeSpan());
  exporter->Export(failed);
  exporter->Flush(10'000);
  const auto spans = collector.Spans();
  ASSERT_EQ(spans.size(), 2U);
  const auto& span = spans[0];
  EXPECT_EQ(span.trace_id().size(), 16U);
  EXPECT_EQ(static_cast<unsigned char>(span.trace_id()[0]), 0x0a);
  EXPECT_EQ(static_cast<unsigned char>(span.trace_id()[15]), 0x9c);
  EXPECT_EQ(span.span_id(), std::string("\x00\xf0\x67\xaa\x0b\xa9\x02\xb7", 8));
  EXPECT_EQ(span.parent_span_id().size(), 8U);
  EXPECT_EQ(span.flags(), 1U);
  EXPECT_EQ(span.name(), "chat m");
  EXPECT_EQ(span.kind(), otlp::trace::v1::Span::SPAN_KIND_SERVER);
  EXPECT_EQ(span.start_time_unix_nano(), 1'700'000'000'000'001'000U);
  EXPECT_EQ(span.end_time_unix_nano(), 1'700'000'000'500'002'000U);
  ASSERT_EQ(span.attributes_size(), 4);
  EXPECT_EQ(span.attributes(0).value().string_value(), "text");
  EXPECT_EQ(span.attributes(1).value().int_value(), -7);
  EXPECT_EQ(span.attributes(2).value().double_value(), 0.5);
  EXPECT_TRUE(span.attributes(3).value().bool_value());
  EXPECT_EQ(span.status().code(), otlp::trace::v1::Status::STATUS_CODE_UNSET);
  EXPECT_EQ(spans[1].status().code(), otlp::trace::v1::Status::STATUS_CODE_ERROR);
  EXPECT_EQ(spans[1].status().message(), "too slow");
  EXPECT_EQ(spans[1].parent_span_id(), "");
  const auto request = collector.first();
  EXPECT_EQ(request.resource_spans(0).resource().attributes(0).key(), "service.name");
  EXPECT_EQ(request.resource_spans(0).resource().attributes(0).value().string_value(), "inferd");
  EXPECT_EQ(exporter->counts().exported, 2U);
}

TEST(SpanExporter, SendsByItselfAndInBatches) {
  FakeCollector collector;
  const auto exporter = StartFor(collector.address());
  exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(1));
  collector.Hold(true);
  for (int i = 0; i < 600; ++i) exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(2));
  collector.Hold(false);
  exporter->Flush(10'000);
  EXPECT_EQ(collector.Spans().size(), 601U);
  EXPECT_EQ(exporter->counts().exported, 601U);
}

TEST(SpanExporter, DropsPastItsBoundAndNeverWaits) {
  FakeCollector collector;
  collector.Hold(true);
  const auto exporter = StartFor(collector.address(), /*max_queued=*/10);
  exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(1));  // that one is on its way
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 25; ++i) exporter->Export(SomeSpan());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(exporter->counts().dropped, 15U);
  collector.Hold(false);
  exporter->Flush(10'000);
  EXPECT_EQ(exporter->counts().exported, 11U);
  exporter->Export(SomeSpan());  // too late
  EXPECT_EQ(exporter->counts().dropped, 16U);
}

TEST(SpanExporter, TriesAgainWhenTheCollectorIsBusy) {
  FakeCollector collector;
  collector.Refuse(1, grpc::StatusCode::UNAVAILABLE);
  const auto exporter = StartFor(collector.address());
  exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(2));
  exporter->Flush(10'000);
  EXPECT_EQ(exporter->counts().exported, 1U);
  EXPECT_EQ(exporter->counts().failed, 0U);
}

TEST(SpanExporter, CountsWhatIsLost) {
  FakeCollector collector;
  collector.Refuse(1, grpc::StatusCode::INVALID_ARGUMENT);
  const auto exporter = StartFor(collector.address());
  exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(1));
  collector.Reject(1);
  exporter->Export(SomeSpan());
  exporter->Export(SomeSpan());
  exporter->Flush(10'000);
  EXPECT_EQ(exporter->counts().failed + exporter->counts().exported, 3U);
  EXPECT_GE(exporter->counts().failed, 2U);
}

TEST(SpanExporter, AFlushIsBounded) {
  FakeCollector collector;
  collector.Hold(true);
  const auto exporter = StartFor(collector.address());
  exporter->Export(SomeSpan());
  ASSERT_TRUE(collector.WaitForCalls(1));
  exporter->Export(SomeSpan());
  const auto start = std::chrono::steady_clock::now();
  exporter->Flush(100);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  const SpanCounts counts = exporter->counts();
  EXPECT_EQ(counts.exported, 0U);
  EXPECT_EQ(counts.dropped + counts.failed, 2U);
}

TEST(SpanExporter, NobodyListens) {
  const auto exporter = StartFor("127.0.0.1:1");
  exporter->Export(SomeSpan());
  exporter->Flush(5'000);
  EXPECT_EQ(exporter->counts().exported, 0U);
  EXPECT_EQ(exporter->counts().failed + exporter->counts().dropped, 1U);
}

}  // namespace
}  // namespace inferd
