#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <string>

namespace inferd {

// What gRPC itself saw of a call.
struct GrpcCall {
  std::string method;  // "inferd.v1.ChatService/CreateChatCompletion", or "other"
  std::string status;  // "OK"
  double seconds = 0;
  int64_t sent_bytes = 0;  // of messages
  int64_t received_bytes = 0;
};

// The server's per-call metrics under the names of gRPC's proposal A66. A series is
// there from its first call on: a histogram for each method and status would make up
// most of a scrape. Thread-safe.
class GrpcCallMetrics {
 public:
  // The families go to `registry`, which must outlive this.
  explicit GrpcCallMetrics(prometheus::Registry& registry);

  void Started(const std::string& method);
  void Ended(const GrpcCall& call);

 private:
  prometheus::Family<prometheus::Counter>& started_;
  prometheus::Family<prometheus::Histogram>& duration_;
  prometheus::Family<prometheus::Histogram>& sent_;
  prometheus::Family<prometheus::Histogram>& received_;
};

}  // namespace inferd
