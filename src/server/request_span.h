#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inferd/trace/span_exporter.h"
#include "server/access_log.h"
#include "server/ended_request.h"
#include "server/generation_request.h"

namespace inferd {

using SpanAttributes = std::vector<std::pair<std::string, SpanValue>>;

// What a request asked for, under the names of OpenTelemetry's conventions for
// generative models. Numbers and flags only: no text of it.
SpanAttributes RequestAttributes(const GenerationRequest& request);

// One finished generation request; `attributes` are those of its request.
Span RequestSpan(const CallerInfo& caller, std::string_view model, const EndedRequest& ended,
                 const Status& status, SpanAttributes attributes, int64_t end_unix_us,
                 EntropySource& entropy);

}  // namespace inferd
