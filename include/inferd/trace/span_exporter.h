// Sends spans to an OpenTelemetry collector over OTLP/gRPC.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "inferd/trace/trace_context.h"
#include "spdlog/logger.h"

namespace inferd {

using SpanValue = std::variant<std::string, int64_t, double, bool>;

// One finished operation. Strings are UTF-8, or the span is lost.
struct Span {
  TraceContext context;
  std::string span_id;  // 16 hexadecimal digits
  std::string name;
  int64_t start_unix_us = 0;
  int64_t end_unix_us = 0;
  bool failed = false;
  std::string message;  // of the failure
  std::vector<std::pair<std::string, SpanValue>> attributes;
};

// Every span that was given is in exactly one of the three, or still waits.
struct SpanCounts {
  uint64_t exported = 0;
  uint64_t dropped = 0;  // the queue was full, or it was too late
  uint64_t failed = 0;   // the collector could not be had, or refused
};

// A thread that sends batches. Thread-safe.
class SpanExporter {
 public:
  struct Options {
    std::string endpoint;  // "host:port", or the same after "http://", or "https://": with TLS
    // PEM: whom a collector with TLS is trusted by; empty: whom the system trusts.
    std::string authorities;
    std::string version;
    std::string instance_id;
    int32_t max_queued = 2048;
    int64_t interval_ms = 1'000;  // a span waits at most this long for others
    int64_t timeout_ms = 5'000;   // of one try
  };
  static constexpr size_t kMaxBatch = 512;

  static std::unique_ptr<SpanExporter> Start(Options options,
                                             std::shared_ptr<spdlog::logger> logger);
  // Drops what is left.
  virtual ~SpanExporter() = default;

  // Never waits: past the bound the span is dropped.
  virtual void Export(Span span) = 0;
  // Sends what is there, for at most `timeout_ms`; later spans are dropped. Once.
  virtual void Flush(int64_t timeout_ms) = 0;
  virtual SpanCounts counts() const = 0;
};

}  // namespace inferd
