#include "trace/otlp_messages.h"

#include <string_view>

namespace inferd::trace {
namespace {

namespace otlp = opentelemetry::proto;

// "0a1b" as two bytes; the digits were checked where they came in.
std::string Bytes(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  }
  return bytes;
}

struct Setter {
  otlp::common::v1::AnyValue* out;
  void operator()(const std::string& value) const { out->set_string_value(value); }
  void operator()(int64_t value) const { out->set_int_value(value); }
  void operator()(double value) const { out->set_double_value(value); }
  void operator()(bool value) const { out->set_bool_value(value); }
};

void Set(const std::string& key, const SpanValue& value, otlp::common::v1::KeyValue* out) {
  out->set_key(key);
  std::visit(Setter{out->mutable_value()}, value);
}

}  // namespace

otlp::collector::trace::v1::ExportTraceServiceRequest EmptyRequest(
    const SpanExporter::Options& options) {
  otlp::collector::trace::v1::ExportTraceServiceRequest request;
  auto* spans = request.add_resource_spans();
  auto* resource = spans->mutable_resource();
  Set("service.name", std::string("inferd"), resource->add_attributes());
  Set("service.version", options.version, resource->add_attributes());
  Set("service.instance.id", options.instance_id, resource->add_attributes());
  auto* scope = spans->add_scope_spans()->mutable_scope();
  scope->set_name("inferd");
  scope->set_version(options.version);
  return request;
}

void AddSpan(const Span& span, otlp::collector::trace::v1::ExportTraceServiceRequest* request) {
  auto* out = request->mutable_resource_spans(0)->mutable_scope_spans(0)->add_spans();
  out->set_trace_id(Bytes(span.context.trace_id));
  out->set_span_id(Bytes(span.span_id));
  out->set_parent_span_id(Bytes(span.context.parent_span_id));
  out->set_flags(span.context.sampled ? 1 : 0);
  out->set_name(span.name);
  out->set_kind(otlp::trace::v1::Span::SPAN_KIND_SERVER);
  out->set_start_time_unix_nano(static_cast<uint64_t>(span.start_unix_us) * 1000);
  out->set_end_time_unix_nano(static_cast<uint64_t>(span.end_unix_us) * 1000);
  for (const auto& [key, value] : span.attributes) Set(key, value, out->add_attributes());
  if (span.failed) {
    out->mutable_status()->set_code(otlp::trace::v1::Status::STATUS_CODE_ERROR);
    out->mutable_status()->set_message(span.message);
  }
}

}  // namespace inferd::trace
