#include "app/server_options.h"

#include "gtest/gtest.h"
#include "inferd/config/config_key.h"
#include "inferd/net/listener.h"

namespace inferd::app {
namespace {

TEST(ServerOptions, Addresses) {
  ServerConfig config;
  config.server.host = "::1";
  config.server.port = 1;
  config.http.port = 2;
  EXPECT_EQ(MakeServerOptions(config).grpc_address, "[::1]:1");
  EXPECT_EQ(MakeServerOptions(config).http_address, "127.0.0.1:2");
  config.http.enabled = false;
  EXPECT_EQ(MakeServerOptions(config).http_address, "");
}

// The defaults an operator reads are those of the rooms themselves.
TEST(ServerOptions, DefaultsAgree) {
  const ServerOptions mapped = MakeServerOptions(ServerConfig());
  const ServerOptions plain;
  EXPECT_EQ(mapped.grpc_address, plain.grpc_address);
  EXPECT_EQ(mapped.http_address, plain.http_address);
  EXPECT_EQ(mapped.max_message_bytes, plain.max_message_bytes);
  EXPECT_EQ(mapped.max_pending_body_bytes, plain.max_pending_body_bytes);
  EXPECT_EQ(plain.max_pending_body_bytes, ListenerOptions().max_pending_body_bytes);
  EXPECT_EQ(mapped.http2.preface_timeout_ms, plain.http2.preface_timeout_ms);
  EXPECT_EQ(mapped.http2.header_block_timeout_ms, plain.http2.header_block_timeout_ms);
  EXPECT_EQ(mapped.max_stream_buffer_bytes, plain.max_stream_buffer_bytes);
  EXPECT_EQ(mapped.write_stall_timeout_ms, plain.write_stall_timeout_ms);
  EXPECT_EQ(mapped.tokenizer_queue, plain.tokenizer_queue);
  EXPECT_EQ(mapped.limits.max_n, plain.limits.max_n);
  EXPECT_EQ(mapped.limits.max_text_bytes, plain.limits.max_text_bytes);
  EXPECT_EQ(mapped.limits.default_deadline_ms, plain.limits.default_deadline_ms);
  const EngineOptions engine = MakeEngineOptions(ServerConfig(), 10, 20);
  const EngineOptions defaults;
  EXPECT_EQ(engine.num_blocks, 10);
  EXPECT_EQ(engine.max_model_len, 20);
  EXPECT_EQ(engine.max_running, defaults.max_running);
  EXPECT_EQ(engine.max_batched_tokens, defaults.max_batched_tokens);
  EXPECT_EQ(engine.queue.max_time_us, -1);
  EXPECT_EQ(engine.priority_step_us, defaults.priority_step_us);
  EXPECT_EQ(engine.priority_limit_us, defaults.priority_limit_us);
  EXPECT_EQ(engine.depth, defaults.depth);
  EXPECT_EQ(engine.step_timeout_us, defaults.step_timeout_us);
  EXPECT_EQ(engine.micro_batches, 1);
}

TEST(ServerOptions, APipelineIsFilledByOneStepMoreThanItHasStages) {
  ServerConfig config;
  config.parallel.pp = 3;
  const EngineOptions engine = MakeEngineOptions(config, 10, 20);
  EXPECT_EQ(engine.depth, 4);
  EXPECT_EQ(engine.micro_batches, 4);
}

// Every limit reaches the server: each key is set to a value of its own.
TEST(ServerOptions, EveryLimitIsTakenOver) {
  ServerConfig config;
  config.limits = {.max_n = 1,
                   .max_top_logprobs = 2,
                   .max_logit_bias = 3,
                   .max_stop_strings = 4,
                   .max_stop_string_bytes = 5,
                   .max_stop_token_ids = 6,
                   .max_messages = 7,
                   .max_parts = 8,
                   .max_tools = 9,
                   .max_tools_bytes = 10,
                   .max_text_bytes = 11,
                   .max_kwargs_bytes = 12,
                   .default_deadline_ms = 13,
                   .max_deadline_ms = 14};
  const RequestLimits limits = MakeServerOptions(config).limits;
  EXPECT_EQ(limits.max_n, 1);
  EXPECT_EQ(limits.max_top_logprobs, 2);
  EXPECT_EQ(limits.max_logit_bias, 3);
  EXPECT_EQ(limits.max_stop_strings, 4);
  EXPECT_EQ(limits.max_stop_string_bytes, 5);
  EXPECT_EQ(limits.max_stop_token_ids, 6);
  EXPECT_EQ(limits.max_messages, 7);
  EXPECT_EQ(limits.max_parts, 8);
  EXPECT_EQ(limits.max_tools, 9);
  EXPECT_EQ(limits.max_tools_bytes, 10);
  EXPECT_EQ(limits.max_text_bytes, 11);
  EXPECT_EQ(limits.max_kwargs_bytes, 12);
  EXPECT_EQ(limits.default_deadline_ms, 13);
  EXPECT_EQ(limits.max_deadline_ms, 14);
}

// So does every limit of connections.
TEST(ServerOptions, EveryLimitOfConnectionsIsTakenOver) {
  ServerConfig config;
  config.server.max_pending_body_bytes = 1;
  config.server.max_message_bytes = 2;
  config.server.max_connections = 3;
  config.server.max_connections_per_address = 4;
  config.server.max_new_connections_per_address = 23;
  config.server.handshake_timeout_ms = 5;
  config.server.header_timeout_ms = 6;
  config.server.body_timeout_ms = 7;
  config.server.idle_timeout_ms = 8;
  config.server.write_stall_timeout_ms = 9;
  config.server.max_concurrent_streams = 10;
  config.http2 = {.preface_timeout_ms = 11,
                  .header_block_timeout_ms = 12,
                  .window_ms = 13,
                  .max_header_bytes = 14,
                  .max_continuations = 15,
                  .max_new_streams = 16,
                  .max_resets = 17,
                  .max_pings = 18,
                  .max_settings = 19,
                  .max_empty_data = 20,
                  .max_priority = 21,
                  .max_window_updates = 22,
                  .max_violations = 24,
                  .penalty_ms = 25,
                  .max_reset_rate = 26};
  const ServerOptions options = MakeServerOptions(config);
  EXPECT_EQ(options.max_pending_body_bytes, 1);
  EXPECT_EQ(options.max_message_bytes, 2);
  EXPECT_EQ(options.max_connections, 3);
  EXPECT_EQ(options.max_connections_per_address, 4);
  EXPECT_EQ(options.max_new_connections_per_address, 23);
  EXPECT_EQ(options.handshake_timeout_ms, 5);
  EXPECT_EQ(options.header_timeout_ms, 6);
  EXPECT_EQ(options.body_timeout_ms, 7);
  EXPECT_EQ(options.idle_timeout_ms, 8);
  EXPECT_EQ(options.write_stall_timeout_ms, 9);
  EXPECT_EQ(options.http2.max_streams, 10);
  EXPECT_EQ(options.http2.preface_timeout_ms, 11);
  EXPECT_EQ(options.http2.header_block_timeout_ms, 12);
  EXPECT_EQ(options.http2.window_ms, 13);
  EXPECT_EQ(options.http2.max_header_bytes, 14);
  EXPECT_EQ(options.http2.max_continuations, 15);
  EXPECT_EQ(options.http2.max_new_streams, 16);
  EXPECT_EQ(options.http2.max_resets, 17);
  EXPECT_EQ(options.http2.max_pings, 18);
  EXPECT_EQ(options.http2.max_settings, 19);
  EXPECT_EQ(options.http2.max_empty_data, 20);
  EXPECT_EQ(options.http2.max_priority, 21);
  EXPECT_EQ(options.http2.max_window_updates, 22);
  EXPECT_EQ(options.http2.max_violations, 24);
  EXPECT_EQ(options.http2.penalty_ms, 25);
  EXPECT_EQ(options.http2.max_reset_rate, 26);
}

}  // namespace
}  // namespace inferd::app
