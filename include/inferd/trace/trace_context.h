// The W3C trace context that requests carry.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "inferd/base/random.h"

namespace inferd {

// Which trace a request belongs to. Plain data.
struct TraceContext {
  std::string trace_id;        // 32 lower-case hexadecimal digits; empty: none
  std::string parent_span_id;  // 16 of the caller's span; empty: there is none
  bool sampled = false;        // a span is made for it
};

// A traceparent header (version 00, or the same fields of a later one); nothing for
// what is malformed or all zeroes.
std::optional<TraceContext> ParseTraceparent(std::string_view traceparent);

// The context of a request: the header's, which decides itself whether it is traced, or
// without one a new trace with probability `sample_ratio`.
TraceContext ReadTraceContext(std::string_view traceparent, double sample_ratio,
                              EntropySource& entropy);

// 16 random hexadecimal digits, not all zero.
std::string NewSpanId(EntropySource& entropy);

}  // namespace inferd
