#include "app/server_options.h"

#include <string>

#include "app/rank_options.h"
#include "app/version.h"

namespace inferd::app {
namespace {

std::string Address(const std::string& host, int32_t port) {
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Http2Limits MakeHttp2Limits(const ServerConfig& config) {
  Http2Limits limits;
  limits.preface_timeout_ms = config.http2.preface_timeout_ms;
  limits.header_block_timeout_ms = config.http2.header_block_timeout_ms;
  limits.window_ms = config.http2.window_ms;
  limits.max_header_bytes = static_cast<int32_t>(config.http2.max_header_bytes);
  limits.max_continuations = config.http2.max_continuations;
  limits.max_streams = config.server.max_concurrent_streams;
  limits.max_new_streams = config.http2.max_new_streams;
  limits.max_resets = config.http2.max_resets;
  limits.max_pings = config.http2.max_pings;
  limits.max_settings = config.http2.max_settings;
  limits.max_empty_data = config.http2.max_empty_data;
  limits.max_priority = config.http2.max_priority;
  limits.max_window_updates = config.http2.max_window_updates;
  limits.max_violations = config.http2.max_violations;
  limits.penalty_ms = config.http2.penalty_ms;
  limits.max_reset_rate = config.http2.max_reset_rate;
  return limits;
}

}  // namespace

ServerOptions MakeServerOptions(const ServerConfig& config) {
  ServerOptions options;
  options.grpc_address = Address(config.server.host, config.server.port);
  options.http_address =
      config.http.enabled ? Address(config.http.host, config.http.port) : std::string();
  options.max_message_bytes = config.server.max_message_bytes;
  options.max_pending_body_bytes = config.server.max_pending_body_bytes;
  options.max_concurrent_streams = config.server.max_concurrent_streams;
  options.max_stream_buffer_bytes = config.server.max_stream_buffer_bytes;
  options.write_stall_timeout_ms = config.server.write_stall_timeout_ms;
  options.sse_keepalive_ms = config.server.sse_keepalive_ms;
  options.max_connection_age_ms = config.server.max_connection_age_ms;
  options.keepalive_time_ms = config.server.keepalive_time_ms;
  options.keepalive_timeout_ms = config.server.keepalive_timeout_ms;
  options.admin_address = config.admin.address;
  options.client_certificates = !config.server.tls_client_ca.empty();
  options.guard_browsers = config.server.api_keys_file.empty() && !options.client_certificates &&
                           !config.server.insecure_no_auth;
  options.allowed_hosts = config.server.allowed_hosts;
  options.reflection = config.server.reflection;
  options.http = config.server.http;
  options.ui = config.ui.enabled;
  options.metrics_require_key = config.metrics.require_key;
  options.network_threads = config.server.network_threads;
  options.max_connections = config.server.max_connections;
  options.max_connections_per_address = config.server.max_connections_per_address;
  options.max_new_connections_per_address = config.server.max_new_connections_per_address;
  options.handshake_timeout_ms = config.server.handshake_timeout_ms;
  options.header_timeout_ms = config.server.header_timeout_ms;
  options.body_timeout_ms = config.server.body_timeout_ms;
  options.idle_timeout_ms = config.server.idle_timeout_ms;
  options.http2 = MakeHttp2Limits(config);
  options.tokenizer_threads = config.server.tokenizer_threads;
  options.tokenizer_queue = config.server.tokenizer_queue;
  options.detokenizer_threads = config.server.detokenizer_threads;
  options.limits = config.limits;
  options.trace_endpoint = config.tracing.otlp_endpoint;
  options.trace_sample_ratio = config.tracing.sample_ratio;
  options.trace_max_queued = config.tracing.max_queued_spans;
  options.metrics_compat = config.metrics.compat;
  options.ttft_buckets = config.metrics.ttft_buckets;
  options.itl_buckets = config.metrics.itl_buckets;
  options.e2e_buckets = config.metrics.e2e_buckets;
  options.version = kVersion;
  options.git_commit = kGitCommit;
  return options;
}

QueueLimits MakeQueueLimits(const ServerConfig& config) {
  QueueLimits limits;
  limits.max_requests = config.engine.max_queued_requests;
  limits.max_tokens = config.engine.max_queued_tokens;
  limits.tenant_share = config.engine.tenant_queue_share;
  limits.max_time_us =
      config.engine.max_queue_time_ms == 0 ? -1 : config.engine.max_queue_time_ms * 1000;
  return limits;
}

EngineOptions MakeEngineOptions(const ServerConfig& config, int32_t num_blocks,
                                int32_t max_model_len) {
  EngineOptions options;
  options.num_blocks = num_blocks;
  options.block_size = config.engine.block_size;
  options.max_running = config.engine.max_running;
  options.max_batched_tokens = config.engine.max_batched_tokens;
  options.max_model_len = max_model_len;
  options.mixed_step_us = config.engine.mixed_step_ms * 1000;
  options.queue = MakeQueueLimits(config);
  options.max_preemptions = config.engine.max_preemptions;
  options.priority_step_us = config.engine.priority_step_ms * 1000;
  options.priority_limit_us = config.engine.priority_limit_ms * 1000;
  options.depth = DepthOf(config);
  if (config.parallel.pp > 1) options.micro_batches = options.depth;
  options.step_timeout_us = config.engine.step_timeout_ms * 1000;
  options.prefix_caching = config.engine.prefix_caching;
  options.resume = config.engine.resume;
  options.max_rank_losses = config.engine.max_rank_losses;
  return options;
}

}  // namespace inferd::app
