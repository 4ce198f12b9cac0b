#include "server/request_span.h"

namespace inferd {
namespace {

double Seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

bool IsChat(RpcMethod method) {
  return method == RpcMethod::kCreateChatCompletion || method == RpcMethod::kStreamChatCompletion ||
         method == RpcMethod::kHttpChatCompletions;
}

bool IsHttp(RpcMethod method) {
  return method == RpcMethod::kHttpChatCompletions || method == RpcMethod::kHttpCompletions;
}

}  // namespace

SpanAttributes RequestAttributes(const GenerationRequest& request) {
  const SamplingParams& sampling = request.sampling;
  SpanAttributes out = {
      {"gen_ai.request.temperature", double{sampling.temperature}},
      {"gen_ai.request.top_p", double{sampling.top_p}},
      {"gen_ai.request.top_k", int64_t{sampling.top_k}},
      {"gen_ai.request.frequency_penalty", double{sampling.frequency_penalty}},
      {"gen_ai.request.presence_penalty", double{sampling.presence_penalty}},
      {"gen_ai.request.choice.count", int64_t{request.num_choices}},
  };
  if (request.max_new_tokens) {
    out.emplace_back("gen_ai.request.max_tokens", int64_t{*request.max_new_tokens});
  }
  if (request.seed) out.emplace_back("gen_ai.request.seed", static_cast<int64_t>(*request.seed));
  return out;
}

Span RequestSpan(const CallerInfo& caller, std::string_view model, const EndedRequest& ended,
                 const Status& status, SpanAttributes attributes, int64_t end_unix_us,
                 EntropySource& entropy) {
  Span span;
  const std::string operation = IsChat(caller.method) ? "chat" : "text_completion";
  const std::string model_name(model);
  span.context = caller.trace;
  span.span_id = NewSpanId(entropy);
  span.name = model_name.empty() ? operation : operation + " " + model_name;
  span.start_unix_us = end_unix_us - ended.e2e_us;
  span.end_unix_us = end_unix_us;
  SpanAttributes& out = span.attributes;
  out = std::move(attributes);
  out.emplace_back("gen_ai.operation.name", operation);
  out.emplace_back("gen_ai.provider.name", std::string("inferd"));
  if (!model_name.empty()) {
    out.emplace_back("gen_ai.request.model", model_name);
    out.emplace_back("gen_ai.response.model", model_name);
  }
  const CallSummary& summary = ended.summary;
  out.emplace_back("gen_ai.usage.input_tokens", int64_t{summary.usage.prompt_tokens});
  out.emplace_back("gen_ai.usage.output_tokens", int64_t{summary.usage.completion_tokens});
  out.emplace_back("gen_ai.usage.cache_read.input_tokens", int64_t{summary.usage.cached_tokens});
  if (summary.queue_us >= 0) {
    out.emplace_back("gen_ai.latency.time_in_queue", Seconds(summary.queue_us));
  }
  if (summary.ttft_us >= 0) {
    out.emplace_back("gen_ai.response.time_to_first_chunk", Seconds(summary.ttft_us));
    out.emplace_back("gen_ai.latency.time_to_first_token", Seconds(summary.ttft_us));
  }
  out.emplace_back("gen_ai.latency.e2e", Seconds(ended.e2e_us));
  out.emplace_back("gen_ai.response.finish_reasons", std::string(ended.finish_reason));
  const std::string code(StatusCodeName(status.code()));
  if (IsHttp(caller.method)) {
    out.emplace_back("http.route", std::string(RpcMethodName(caller.method)));
  } else {
    out.emplace_back("rpc.system.name", std::string("grpc"));
    out.emplace_back("rpc.method", "inferd.v1." + std::string(RpcMethodName(caller.method)));
  }
  out.emplace_back("rpc.response.status_code", code);
  out.emplace_back("inferd.request_id", caller.request_id);
  if (!status.ok()) {
    const bool has_reason = status.detail() != nullptr && !status.detail()->reason.empty();
    out.emplace_back("error.type", has_reason ? status.detail()->reason : code);
    // A client that goes away is no failure of the server's.
    span.failed = status.code() != StatusCode::kCancelled;
  }
  return span;
}

}  // namespace inferd
