// Everything an operator can set, by section. Plain data; the defaults are the
// initial values here, and docs/configuration.md is generated from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inferd/base/request_limits.h"

namespace inferd {

struct ServerConfig {
  struct Server {
    std::string host = "127.0.0.1";
    int32_t port = 50051;  // 0: any free one
    bool insecure_no_auth = false;
    std::vector<std::string> allowed_hosts;
    bool http = true;
    std::string api_keys_file;
    std::string tls_certificate;
    std::string tls_key;
    std::string tls_client_ca;
    int32_t network_threads = 1;
    int32_t max_connections = 4096;
    int32_t max_connections_per_address = 256;
    int32_t max_new_connections_per_address = 1'000;  // a second
    int64_t handshake_timeout_ms = 5'000;
    int64_t header_timeout_ms = 10'000;
    int64_t body_timeout_ms = 15'000;
    int64_t idle_timeout_ms = 300'000;
    int64_t max_message_bytes = 8 << 20;
    int64_t max_pending_body_bytes = 256 << 20;
    int32_t max_concurrent_streams = 128;
    int64_t max_stream_buffer_bytes = 256 << 10;
    int64_t write_stall_timeout_ms = 30'000;
    int64_t sse_keepalive_ms = 15'000;
    int64_t max_connection_age_ms = 0;  // 0: off
    int64_t keepalive_time_ms = 60'000;
    int64_t keepalive_timeout_ms = 20'000;
    bool reflection = true;
    int32_t tokenizer_threads = 2;
    int32_t tokenizer_queue = 256;
    int32_t detokenizer_threads = 1;
    bool core_dumps = false;
  };
  struct Http {
    bool enabled = true;
    std::string host = "127.0.0.1";
    int32_t port = 9091;  // 0: any free one
  };
  struct Http2 {
    int64_t preface_timeout_ms = 5'000;
    int64_t header_block_timeout_ms = 10'000;
    int64_t window_ms = 10'000;
    int64_t max_header_bytes = 16 << 10;
    int32_t max_continuations = 16;
    int32_t max_new_streams = 10'000;
    int32_t max_resets = 200;
    int32_t max_pings = 20;
    int32_t max_settings = 20;
    int32_t max_empty_data = 100;
    int32_t max_priority = 100;
    int32_t max_window_updates = 20'000;
    int32_t max_violations = 5;
    int64_t penalty_ms = 30'000;
    int32_t max_reset_rate = 2'000;
  };
  struct Admin {
    std::string address;  // empty: off
  };
  struct Ui {
    bool enabled = false;
  };
  struct Model {
    std::string path;
    std::string name;  // empty: the last component of `path`
    std::vector<std::string> aliases;
    int32_t max_len = 0;  // tokens; 0: what the checkpoint says
    std::string backend = "auto";
    std::string activations = "f32";
    std::string weights = "resident";
    std::string packed_cache;  // directory; empty: off
    int64_t packed_cache_size_bytes = int64_t{64} << 30;
  };
  struct Engine {
    int32_t max_running = 64;
    int32_t max_batched_tokens = 512;
    int64_t mixed_step_ms = 200;  // 0: no limit
    int32_t max_queued_requests = 1024;
    int64_t max_queued_tokens = 1 << 20;
    int64_t max_queue_time_ms = 0;  // 0: no limit
    double tenant_queue_share = 0.5;
    int32_t max_preemptions = 8;
    int64_t priority_step_ms = 10'000;
    int64_t priority_limit_ms = 60'000;
    int32_t depth = 2;
    int64_t step_timeout_ms = 5'000;  // 0: never
    int32_t block_size = 16;          // tokens
    bool prefix_caching = true;
    bool resume = true;
    int32_t max_rank_losses = 3;
    bool layer_ranges = false;
    bool batch_invariant = false;
  };
  struct KvCache {
    int64_t size_bytes = 0;  // 0: by `fraction`
    double fraction = 0.5;   // of the memory left beside the model
    std::string dtype = "f32";
  };
  struct Cpu {
    int32_t threads = 0;  // 0: what affinity and quota leave
    std::string pinning = "auto";
    bool amx = true;
  };
  struct Parallel {
    std::string tp = "1";     // ranks, or rows x columns
    int32_t pp = 1;           // stages
    std::string layer_split;  // layers of each, with commas; empty: by weights
    int32_t dp = 1;           // replicas
    std::string all_reduce = "auto";
    bool compare_tokens = false;
    std::string executor = "auto";
    int64_t start_timeout_ms = 600'000;
    int64_t max_backoff_ms = 30'000;
    int32_t max_failed_starts = 8;
    std::vector<std::string> hosts;  // the leader first; empty: this one, or by environment
    int32_t host_index = -1;         // -1: by the environment
    int32_t port = 29500;
    std::string key_file;
    int64_t heartbeat_timeout_ms = 10'000;
  };
  struct Metrics {
    std::string compat = "gie";
    bool require_key = true;
    std::vector<double> ttft_buckets;  // seconds; empty: the built-in ones
    std::vector<double> itl_buckets;
    std::vector<double> e2e_buckets;
  };
  struct Tracing {
    std::string otlp_endpoint;  // empty: off
    std::string otlp_ca;        // a file; empty: the system's authorities
    double sample_ratio = 1.0;
    int32_t max_queued_spans = 2048;
  };
  struct Log {
    std::string level = "info";
    std::string format = "auto";
  };
  struct Drain {
    int64_t delay_ms = 5'000;
    int64_t timeout_ms = 30'000;
    int64_t grace_ms = 10'000;
  };

  Server server;
  Http http;
  Http2 http2;
  Admin admin;
  Ui ui;
  Model model;
  Engine engine;
  KvCache kv_cache;
  Cpu cpu;
  Parallel parallel;
  RequestLimits limits;
  Metrics metrics;
  Tracing tracing;
  Log log;
  Drain drain;
};

}  // namespace inferd
