#pragma once

#include <string>

#include "inferd/trace/span_exporter.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace inferd::trace {

// A request without spans, with all that is the same for each.
opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest EmptyRequest(
    const SpanExporter::Options& options);

void AddSpan(const Span& span,
             opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest* request);

}  // namespace inferd::trace
