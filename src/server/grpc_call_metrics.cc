#include "server/grpc_call_metrics.h"

namespace inferd {
namespace {

// The bounds that A66 gives.
prometheus::Histogram::BucketBoundaries LatencyBounds() {
  return {0,     0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004,
          0.005, 0.006,   0.008,   0.01,   0.013,  0.016,  0.02,   0.025, 0.03,  0.04,  0.05,
          0.065, 0.08,    0.1,     0.13,   0.16,   0.2,    0.25,   0.3,   0.4,   0.5,   0.65,
          0.8,   1,       2,       5,      10,     20,     50,     100};
}

prometheus::Histogram::BucketBoundaries SizeBounds() {
  return {0,       1024,    2048,     4096,     16384,     65536,      262144,
          1048576, 4194304, 16777216, 67108864, 268435456, 1073741824, 4294967296};
}

prometheus::Family<prometheus::Histogram>& HistogramFamily(prometheus::Registry& registry,
                                                           const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

GrpcCallMetrics::GrpcCallMetrics(prometheus::Registry& registry)
    : started_(prometheus::BuildCounter()
                   .Name("grpc_server_call_started_total")
                   .Help("gRPC calls that began, probes and reflection included.")
                   .Register(registry)),
      duration_(HistogramFamily(registry, "grpc_server_call_duration_seconds",
                                "From a gRPC call's headers to its end.")),
      sent_(HistogramFamily(registry, "grpc_server_call_sent_total_compressed_message_size_bytes",
                            "Bytes of a gRPC call's answers; none is compressed.")),
      received_(HistogramFamily(registry,
                                "grpc_server_call_rcvd_total_compressed_message_size_bytes",
                                "Bytes of a gRPC call's requests, decompressed.")) {}

void GrpcCallMetrics::Started(const std::string& method) {
  started_.Add({{"grpc_method", method}}).Increment();
}

void GrpcCallMetrics::Ended(const GrpcCall& call) {
  const prometheus::Labels labels = {{"grpc_method", call.method}, {"grpc_status", call.status}};
  duration_.Add(labels, LatencyBounds()).Observe(call.seconds);
  sent_.Add(labels, SizeBounds()).Observe(static_cast<double>(call.sent_bytes));
  received_.Add(labels, SizeBounds()).Observe(static_cast<double>(call.received_bytes));
}

}  // namespace inferd
