// The table itself. Keep it in the order of ServerConfig.
#include <array>

#include "inferd/config/config_key.h"

namespace inferd {
namespace {

constexpr double kHourMs = 3'600'000;
constexpr double kDayMs = 24 * kHourMs;
constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;
constexpr double kTiB = kGiB * 1024;

// Address of a field of ServerConfig, as a function that finds it in any.
#define FIELD(member) +[](ServerConfig& c) -> decltype((c.member)) { return c.member; }

using enum ConfigType;

constexpr std::array kKeys{
    // ---- server ----
    ConfigKey{"server.host", "host", kString, FIELD(server.host), 0, 255, "",
              "Address the main port listens on. Anything but a loopback address also needs "
              "`server.api_keys_file`, `server.tls_client_ca` or `server.insecure_no_auth`."},
    ConfigKey{
        "server.port", "port", kInteger, FIELD(server.port), 0, 65535, "",
        "The main port: gRPC, and with `server.http` the OpenAI API and /metrics. 0 takes any "
        "free one; the log names it."},
    ConfigKey{"server.insecure_no_auth", "insecure-no-auth", kBoolean,
              FIELD(server.insecure_no_auth), 0, 0, "",
              "Allow addresses other machines can reach, without any authentication."},
    ConfigKey{"server.allowed_hosts", "", kStringList, FIELD(server.allowed_hosts), 0, 256, "",
              "Names by which browsers may reach a daemon that asks for no key, besides addresses "
              "and localhost, and sites whose pages may ask it; `*`: any. Without keys, client "
              "certificates or `server.insecure_no_auth`, other HTTP/1.1 requests with a Host or "
              "Origin are refused with 403."},
    ConfigKey{"server.http", "", kBoolean, FIELD(server.http), 0, 0, "",
              "Serve HTTP/1.1 on the main port too: the OpenAI API, /metrics, health."},
    ConfigKey{"server.api_keys_file", "api-keys-file", kString, FIELD(server.api_keys_file), 0,
              4096, "",
              "YAML file of API keys (their hashes; see security.md). With it every call but "
              "health needs a key. Read again at SIGHUP."},
    ConfigKey{"server.tls_certificate", "tls-certificate", kString, FIELD(server.tls_certificate),
              0, 4096, "",
              "PEM file with the certificate and its chain: the main port speaks TLS. Read again "
              "at SIGHUP."},
    ConfigKey{"server.tls_key", "tls-key", kString, FIELD(server.tls_key), 0, 4096, "",
              "PEM file with the certificate's key, readable by its owner alone, or root's and "
              "readable by the daemon's group."},
    ConfigKey{"server.tls_client_ca", "tls-client-ca", kString, FIELD(server.tls_client_ca), 0,
              4096, "",
              "PEM file with the authorities of client certificates: clients must show one."},
    ConfigKey{"server.network_threads", "", kInteger, FIELD(server.network_threads), 1, 64, "",
              "Threads that serve the connections of all ports."},
    ConfigKey{"server.max_connections", "", kInteger, FIELD(server.max_connections), 1, 65535, "",
              "Open connections; more are closed at once."},
    ConfigKey{"server.max_connections_per_address", "", kInteger,
              FIELD(server.max_connections_per_address), 1, 65535, "",
              "The same from one IP address (of IPv6: from one /64)."},
    ConfigKey{"server.max_new_connections_per_address", "", kInteger,
              FIELD(server.max_new_connections_per_address), 1, 1'000'000, "",
              "New connections of one IP address a second, and at once after a pause; more are "
              "closed at once."},
    ConfigKey{"server.handshake_timeout", "", kDuration, FIELD(server.handshake_timeout_ms), 100,
              kHourMs, "", "How long a new connection may take for TLS and its first bytes."},
    ConfigKey{"server.header_timeout", "", kDuration, FIELD(server.header_timeout_ms), 100, kHourMs,
              "", "How long the head of an HTTP/1.1 request may take."},
    ConfigKey{"server.body_timeout", "", kDuration, FIELD(server.body_timeout_ms), 100, kHourMs, "",
              "How long the body of a request may make no progress."},
    ConfigKey{"server.idle_timeout", "", kDuration, FIELD(server.idle_timeout_ms), 100, kDayMs, "",
              "How long an HTTP/1.1 connection may wait for its next request."},
    ConfigKey{"server.max_message_size", "", kSize, FIELD(server.max_message_bytes), 1024,
              256 * kMiB, "", "Largest request message."},
    ConfigKey{"server.max_pending_body", "", kSize, FIELD(server.max_pending_body_bytes), 1024,
              kTiB, "",
              "Request bodies being received, past the first 64 KiB of each, of all connections "
              "together; past it HTTP/1.1 requests are refused with 503 and HTTP/2 connections "
              "ended with GOAWAY."},
    ConfigKey{"server.max_concurrent_streams", "", kInteger, FIELD(server.max_concurrent_streams),
              1, 65535, "", "Open calls per connection."},
    ConfigKey{"server.max_stream_buffer", "", kSize, FIELD(server.max_stream_buffer_bytes), 1024,
              64 * kMiB, "", "Text waiting for a slow client; past it the request is cancelled."},
    ConfigKey{"server.write_stall_timeout", "", kDuration, FIELD(server.write_stall_timeout_ms),
              100, kDayMs, "", "A client that takes nothing for this long is cut off."},
    ConfigKey{"server.sse_keepalive", "", kDuration, FIELD(server.sse_keepalive_ms), 0, kHourMs, "",
              "Silence on a stream of server-sent events before a comment goes out, so that "
              "proxies do not take it for dead. 0: none does."},
    ConfigKey{"server.max_connection_age", "", kDuration, FIELD(server.max_connection_age_ms), 0,
              7 * kDayMs, "",
              "Connections are asked to reconnect after this long, so that load balancers can "
              "move them. 0: never."},
    ConfigKey{"server.keepalive_time", "", kDuration, FIELD(server.keepalive_time_ms), 1000, kDayMs,
              "", "Silence on a connection before the server pings it."},
    ConfigKey{"server.keepalive_timeout", "", kDuration, FIELD(server.keepalive_timeout_ms), 1000,
              kHourMs, "", "How long such a ping may stay unanswered."},
    ConfigKey{"server.reflection", "", kBoolean, FIELD(server.reflection), 0, 0, "",
              "Serve gRPC reflection."},
    ConfigKey{"server.tokenizer_threads", "", kInteger, FIELD(server.tokenizer_threads), 1, 256, "",
              "Threads that render templates and encode prompts."},
    ConfigKey{"server.tokenizer_queue", "", kInteger, FIELD(server.tokenizer_queue), 1, 65536, "",
              "Prompts waiting for those threads; past it requests are refused."},
    ConfigKey{"server.detokenizer_threads", "", kInteger, FIELD(server.detokenizer_threads), 1, 256,
              "", "Threads that turn tokens into text."},
    ConfigKey{"server.core_dumps", "", kBoolean, FIELD(server.core_dumps), 0, 0, "",
              "Leave the limit on core files as it is. They hold prompts, answers and whatever "
              "clients sent, so by default none is written."},
    // ---- http ----
    ConfigKey{"http.enabled", "http", kBoolean, FIELD(http.enabled), 0, 0, "",
              "Serve /metrics, /healthz, /readyz and /version on a side port of their own, "
              "without keys or TLS."},
    ConfigKey{"http.host", "http-host", kString, FIELD(http.host), 0, 255, "",
              "Address of the side port; other than loopback, it needs "
              "`server.insecure_no_auth`."},
    ConfigKey{"http.port", "http-port", kInteger, FIELD(http.port), 0, 65535, "",
              "Side port. 0 takes any free one."},
    // ---- http2 ----
    ConfigKey{"http2.preface_timeout", "", kDuration, FIELD(http2.preface_timeout_ms), 100, kHourMs,
              "", "How long an HTTP/2 client may take for its preface and SETTINGS."},
    ConfigKey{"http2.header_block_timeout", "", kDuration, FIELD(http2.header_block_timeout_ms),
              100, kHourMs, "",
              "How long one header block may take, CONTINUATION frames included."},
    ConfigKey{"http2.window", "", kDuration, FIELD(http2.window_ms), 100, kHourMs, "",
              "The time over which the counts below are taken, per connection. Past one of them "
              "the connection is ended with GOAWAY (ENHANCE_YOUR_CALM)."},
    ConfigKey{"http2.max_header_size", "", kSize, FIELD(http2.max_header_bytes), 1024, kMiB, "",
              "Bytes of one header block, compressed, CONTINUATION frames included."},
    ConfigKey{"http2.max_continuations", "", kInteger, FIELD(http2.max_continuations), 0, 1024, "",
              "CONTINUATION frames of one header block."},
    ConfigKey{"http2.max_new_streams", "", kInteger, FIELD(http2.max_new_streams), 1, 1'000'000, "",
              "HEADERS frames per window: calls begun, and trailers."},
    ConfigKey{"http2.max_resets", "", kInteger, FIELD(http2.max_resets), 1, 1'000'000, "",
              "RST_STREAM frames per window, of both sides together; not a client's after the "
              "whole answer."},
    ConfigKey{"http2.max_pings", "", kInteger, FIELD(http2.max_pings), 1, 1'000'000, "",
              "PING frames per window, beyond one after each frame of an answer."},
    ConfigKey{"http2.max_settings", "", kInteger, FIELD(http2.max_settings), 1, 1'000'000, "",
              "SETTINGS frames per window."},
    ConfigKey{"http2.max_empty_data", "", kInteger, FIELD(http2.max_empty_data), 1, 1'000'000, "",
              "DATA frames per window that carry nothing and end nothing."},
    ConfigKey{"http2.max_priority", "", kInteger, FIELD(http2.max_priority), 1, 1'000'000, "",
              "PRIORITY and unknown frames per window."},
    ConfigKey{"http2.max_window_updates", "", kInteger, FIELD(http2.max_window_updates), 1,
              10'000'000, "",
              "WINDOW_UPDATE frames per window, beyond two per DATA frame of an answer."},
    ConfigKey{"http2.max_violations", "", kInteger, FIELD(http2.max_violations), 1, 1'000'000, "",
              "Connections of one IP address (of IPv6: of one /64) per window that are ended for "
              "what they sent, where as many resets as `http2.max_resets`, on whichever of its "
              "connections, count as one more. Past it new connections of that address are closed "
              "at once for the time of `http2.penalty`; those that are open live on."},
    ConfigKey{"http2.penalty", "", kDuration, FIELD(http2.penalty_ms), 100, kDayMs, "",
              "How long an address that broke the limits too often is refused."},
    ConfigKey{"http2.max_reset_rate", "", kInteger, FIELD(http2.max_reset_rate), 1, 1'000'000, "",
              "RST_STREAM frames a second of all connections together, past the first ten of each "
              "per window. Past it the connections they come from are read more slowly."},
    // ---- admin ----
    ConfigKey{"admin.address", "admin-address", kString, FIELD(admin.address), 0, 255, "",
              "Where the admin service listens: unix:/path, or host:port of a loopback address. "
              "Empty: nowhere."},
    // ---- ui ----
    ConfigKey{"ui.enabled", "ui", kBoolean, FIELD(ui.enabled), 0, 0, "",
              "Serve the page /ui on the main port: a chat and the daemon's state."},
    // ---- model ----
    ConfigKey{"model.path", "model", kString, FIELD(model.path), 0, 4096, "",
              "Directory of the checkpoint (config.json, *.safetensors, tokenizer.json). "
              "Required."},
    ConfigKey{"model.name", "model-name", kString, FIELD(model.name), 0, 256, "",
              "Name clients ask for. Empty: the last part of `model.path`."},
    ConfigKey{"model.aliases", "", kStringList, FIELD(model.aliases), 0, 256, "",
              "Other names the model answers to."},
    ConfigKey{"model.max_len", "max-model-len", kInteger, FIELD(model.max_len), 0, 16'777'216, "",
              "Longest prompt and answer together, in tokens. 0: what the checkpoint says."},
    ConfigKey{"model.backend", "backend", kString, FIELD(model.backend), 1, 64, "",
              "Backend that computes: a name, or auto for the best one in this build."},
    ConfigKey{
        "model.activations", "activations", kChoice, FIELD(model.activations), 0, 0,
        "f32|bf16|auto",
        "Number format of what is multiplied with BF16 weights; see operations.md. auto: BF16 "
        "where the CPU multiplies it faster than F32 (AMX; AVX512_BF16 on AMD), else F32. On GPUs "
        "auto is bf16, and F16 weights are met by F16."},
    ConfigKey{"model.weights", "weights", kChoice, FIELD(model.weights), 0, 0,
              "resident|sharded|host-stream",
              "resident: in memory. sharded: each rank of `parallel.tp` keeps a part of every "
              "layer; they put the next one together while one is computed, and share the rows "
              "of a step instead of splitting layers. host-stream: layers stay in the file of "
              "`model.packed_cache`, "
              "are read ahead of their use and given back after it, for models larger than the "
              "memory; see scaling.md."},
    ConfigKey{
        "model.packed_cache", "packed-cache", kString, FIELD(model.packed_cache), 0, 4096, "",
        "Directory where weights are kept in the form the CPU reads them in, and the products' "
        "fastest algorithms of a GPU, so that later starts need not prepare them; see "
        "operations.md. Empty: nowhere."},
    ConfigKey{"model.packed_cache_size", "", kSize, FIELD(model.packed_cache_size_bytes), 0,
              64 * kTiB, "",
              "Most that directory may hold; what was not used for longest is removed first."},
    // ---- engine ----
    ConfigKey{"engine.max_running", "max-running", kInteger, FIELD(engine.max_running), 1, 4096, "",
              "Sequences computed together."},
    ConfigKey{"engine.max_batched_tokens", "max-batched-tokens", kInteger,
              FIELD(engine.max_batched_tokens), 1, 1'048'576, "", "Tokens of one step."},
    ConfigKey{"engine.mixed_step_time", "", kDuration, FIELD(engine.mixed_step_ms), 0, kHourMs, "",
              "While answers are being generated, prompts are computed in pieces so small that a "
              "step ends within this, by the pace of recent steps; or within twice what the "
              "answers alone take, if that is longer. 0: pieces as large as "
              "`engine.max_batched_tokens`."},
    ConfigKey{"engine.max_queued_requests", "max-queued-requests", kInteger,
              FIELD(engine.max_queued_requests), 1, 1'000'000, "",
              "Requests waiting; past it they are refused with RESOURCE_EXHAUSTED."},
    ConfigKey{"engine.max_queued_tokens", "", kInteger, FIELD(engine.max_queued_tokens), 1,
              1'099'511'627'776.0, "", "Prompt tokens waiting; past it requests are refused."},
    ConfigKey{"engine.max_queue_time", "", kDuration, FIELD(engine.max_queue_time_ms), 0, kDayMs,
              "", "A request that waits longer is refused. 0: no limit."},
    ConfigKey{"engine.tenant_queue_share", "", kNumber, FIELD(engine.tenant_queue_share), 0.01, 1,
              "",
              "The most of the queue, in requests and in tokens, that one tenant may hold while "
              "nobody else waits; beside others, the same part of what they leave. 1: all of it. "
              "Without keys or client certificates there are no tenants, and all of it is "
              "everybody's."},
    ConfigKey{"engine.max_preemptions", "", kInteger, FIELD(engine.max_preemptions), 0, 1000, "",
              "How often one sequence may lose its place before it is ended."},
    ConfigKey{"engine.priority_step", "", kDuration, FIELD(engine.priority_step_ms), 0, kDayMs, "",
              "Waiting this long makes up for one step of `priority`, so that low priority is "
              "served late but not never. 0: strict order; low priority may wait for ever."},
    ConfigKey{"engine.priority_limit", "", kDuration, FIELD(engine.priority_limit_ms), 0, kDayMs,
              "",
              "Most waiting that `priority` can make up for, whatever its value: nobody is "
              "overtaken by a request that arrives more than twice this later."},
    ConfigKey{"engine.depth", "depth", kInteger, FIELD(engine.depth), 1, 8, "",
              "Steps in flight: 1 is simplest to debug, 2 hides the scheduler behind the "
              "computation."},
    ConfigKey{"engine.step_timeout", "", kDuration, FIELD(engine.step_timeout_ms), 0, kDayMs, "",
              "A step that takes longer than this, and than ten times what it should take by the "
              "pace of the last ones (the first eight steps: than six times this), hangs: ranks "
              "that are processes are started again, else the daemon ends with code 70. Up "
              "to a minute of reading from disk does not count. 0: not watched."},
    ConfigKey{"engine.block_size", "", kInteger, FIELD(engine.block_size), 1, 256, "",
              "Tokens per block of the KV cache; a power of two."},
    ConfigKey{"engine.prefix_caching", "prefix-caching", kBoolean, FIELD(engine.prefix_caching), 0,
              0, "", "Reuse the KV blocks of equal prompt beginnings."},
    ConfigKey{"engine.resume", "", kBoolean, FIELD(engine.resume), 0, 0, "",
              "When ranks die and are started again: go on with the answers that had begun, where "
              "they were. Off: those end with UNAVAILABLE, RANKS_LOST."},
    ConfigKey{"engine.max_rank_losses", "", kInteger, FIELD(engine.max_rank_losses), 1, 1000, "",
              "A sequence that was being computed each time when the ranks died so many times in "
              "a row is ended with UNAVAILABLE, POISON. Before the last time it is computed "
              "alone."},
    ConfigKey{"engine.layer_ranges", "", kBoolean, FIELD(engine.layer_ranges), 0, 0, "",
              "On a GPU: name layers to a profiler as well as steps, as NVTX ranges. Steps that "
              "are launched as one graph have no layers."},
    ConfigKey{"engine.batch_invariant", "", kBoolean, FIELD(engine.batch_invariant), 0, 0, "",
              "On GPUs: compute a row with the same bits however many rows a step has, so that a "
              "prompt cut otherwise, or computed again, goes on the same. Prefill is slower. CPUs "
              "always do."},
    // ---- kv_cache ----
    ConfigKey{"kv_cache.size", "kv-cache-size", kSize, FIELD(kv_cache.size_bytes), 0, 64 * kTiB, "",
              "Memory for the KV cache. 0: decided by `kv_cache.fraction`."},
    ConfigKey{"kv_cache.fraction", "", kNumber, FIELD(kv_cache.fraction), 0.01, 0.95, "",
              "Share of the memory left beside the model; never more than what "
              "`engine.max_running` sequences of full length need."},
    ConfigKey{"kv_cache.dtype", "kv-cache-dtype", kChoice, FIELD(kv_cache.dtype), 0, 0,
              "f32|bf16|int8|fp8",
              "Number format of cached keys and values; int8 is one byte each and a scale per "
              "token and head; fp8 is one byte each (E4M3) and less exact than int8."},
    // ---- cpu ----
    ConfigKey{"cpu.threads", "threads", kInteger, FIELD(cpu.threads), 0, 256, "",
              "Computing threads of the CPU backend, and threads that load weights for GPUs. 0: "
              "one per core that the affinity mask and "
              "the control group's quota leave to the process; of eight or more, one less."},
    ConfigKey{"cpu.pinning", "", kChoice, FIELD(cpu.pinning), 0, 0, "auto|on|off",
              "Keep each computing thread but the first on one core. auto: on eight cores or "
              "more, without a quota, if a core is left over."},
    ConfigKey{
        "cpu.amx", "", kBoolean, FIELD(cpu.amx), 0, 0, "",
        "Allow the AMX instructions, for activations in BF16 and for weights in 8 and 4 bits, if "
        "the CPU has them."},
    // ---- parallel ----
    ConfigKey{"parallel.tp", "tp", kString, FIELD(parallel.tp), 1, 7, "",
              "Ranks that share every layer: a number, or rows and columns of a grid, as in `2x2`, "
              "over whose rows outputs and over whose columns inputs are split (see scaling.md)."},
    ConfigKey{"parallel.pp", "pp", kInteger, FIELD(parallel.pp), 1, 32, "",
              "Pipeline stages, each of `parallel.tp` ranks: the layers are split by what they "
              "cost, and one step more than there are stages is in flight."},
    ConfigKey{"parallel.layer_split", "", kString, FIELD(parallel.layer_split), 0, 256, "",
              "Layers of each stage, as in `10,12,10`, for stages that are not alike in speed or "
              "memory. Empty: so that the stage with most weights has as few as possible, the "
              "head counted in."},
    ConfigKey{
        "parallel.dp", "dp", kInteger, FIELD(parallel.dp), 1, 32, "",
        "Replicas of the model, each with its own ranks, memory, queue and cache: the keys of "
        "`engine` hold for each of them, and they share out the cores and the memory. A "
        "request goes to the one that has most of its prompt in its cache and least to do."},
    ConfigKey{
        "parallel.all_reduce", "", kChoice, FIELD(parallel.all_reduce), 0, 0,
        "auto|exact|hierarchical|int8|fp8|always-hierarchical|always-int8|always-fp8",
        "How ranks that share a layer may sum. int8 and fp8 may send partial sums as 8-bit "
        "numbers, where that is quicker when measured at the start, always-int8 and "
        "always-fp8 do in any case: texts change. hierarchical may sum within hosts first, then "
        "between "
        "them, where every host has several ranks of a stage and that is quicker, and "
        "always-hierarchical does: all bits, in another order. auto and exact send all bits in the "
        "order of ranks."},
    ConfigKey{"parallel.compare_tokens", "", kBoolean, FIELD(parallel.compare_tokens), 0, 0, "",
              "For tracking down faults: the ranks of the last stage compare the tokens they draw "
              "after every step, and fail unless these are the same."},
    ConfigKey{"parallel.executor", "executor", kChoice, FIELD(parallel.executor), 0, 0,
              "auto|thread|process",
              "What a rank is: a thread of this process, or a process that may die and is started "
              "again while clients wait. auto: a thread if there is one rank and it computes on "
              "processors, else processes."},
    ConfigKey{"parallel.start_timeout", "", kDuration, FIELD(parallel.start_timeout_ms), 100,
              kDayMs, "", "How long ranks that are processes may take to load the model."},
    ConfigKey{"parallel.max_backoff", "", kDuration, FIELD(parallel.max_backoff_ms), 100, kHourMs,
              "",
              "Before ranks that died are started again: 100 ms, twice as long each time, at most "
              "this; from the beginning once they have lived for a minute."},
    ConfigKey{"parallel.max_failed_starts", "", kInteger, FIELD(parallel.max_failed_starts), 1,
              1'000'000, "", "Starts in a row that may fail; then the daemon ends with code 70."},
    ConfigKey{"parallel.hosts", "hosts", kStringList, FIELD(parallel.hosts), 0, 4096, "",
              "Addresses of the hosts that share the ranks evenly, the leader, which serves, "
              "first; the same on all of them. Empty: this host alone, or, with "
              "`parallel.key_file`, what LeaderWorkerSet or a launcher says in the environment "
              "(see scaling.md)."},
    ConfigKey{"parallel.host_index", "host-index", kInteger, FIELD(parallel.host_index), -1, 31, "",
              "Which of `parallel.hosts` this one is, from 0. -1: LWS_WORKER_INDEX or RANK in the "
              "environment says it."},
    ConfigKey{"parallel.port", "", kInteger, FIELD(parallel.port), 1, 65000, "",
              "Where the leader listens for ranks of other hosts. Ranks listen for each other at "
              "the ports after it, eight for each rank of a host."},
    ConfigKey{"parallel.key_file", "", kString, FIELD(parallel.key_file), 0, 4096, "",
              "File whose first line is the secret of the deployment, the same on all hosts, at "
              "least 16 characters; not readable by others."},
    ConfigKey{
        "parallel.heartbeat_timeout", "", kDuration, FIELD(parallel.heartbeat_timeout_ms), 100,
        kHourMs, "",
        "Hosts tell each other five times in this time that they live, idle or not. Ranks of a "
        "host that is not heard for longer are lost, and started again; ranks that do not hear "
        "the leader end. The same on all hosts."},
    // ---- limits ----
    ConfigKey{"limits.max_n", "", kInteger, FIELD(limits.max_n), 1, 128, "",
              "Choices of one request."},
    ConfigKey{"limits.max_top_logprobs", "", kInteger, FIELD(limits.max_top_logprobs), 0, 20, "",
              "Likeliest tokens reported per position."},
    ConfigKey{"limits.max_logit_bias", "", kInteger, FIELD(limits.max_logit_bias), 0, 65536, "",
              "Entries of `logit_bias`."},
    ConfigKey{"limits.max_stop_strings", "", kInteger, FIELD(limits.max_stop_strings), 0, 256, "",
              "Entries of `stop`."},
    ConfigKey{"limits.max_stop_string_bytes", "", kInteger, FIELD(limits.max_stop_string_bytes), 1,
              65536, "", "Bytes of one stop string."},
    ConfigKey{"limits.max_stop_token_ids", "", kInteger, FIELD(limits.max_stop_token_ids), 0, 65536,
              "", "Entries of `stop_token_ids`."},
    ConfigKey{"limits.max_messages", "", kInteger, FIELD(limits.max_messages), 1, 65536, "",
              "Messages of one request."},
    ConfigKey{"limits.max_parts", "", kInteger, FIELD(limits.max_parts), 1, 65536, "",
              "Content parts of one message."},
    ConfigKey{"limits.max_tools", "", kInteger, FIELD(limits.max_tools), 0, 65536, "",
              "Tools of one request."},
    ConfigKey{"limits.max_tools_size", "", kSize, FIELD(limits.max_tools_bytes), 0, 64 * kMiB, "",
              "Size of all tool definitions of one request."},
    ConfigKey{"limits.max_text_size", "", kSize, FIELD(limits.max_text_bytes), 1, 256 * kMiB, "",
              "Text of one request."},
    ConfigKey{"limits.max_kwargs_size", "", kSize, FIELD(limits.max_kwargs_bytes), 0, 16 * kMiB, "",
              "Size of `chat_template_kwargs`."},
    ConfigKey{"limits.default_deadline", "", kDuration, FIELD(limits.default_deadline_ms), 1,
              7 * kDayMs, "", "Time limit of a request whose client set none."},
    ConfigKey{"limits.max_deadline", "", kDuration, FIELD(limits.max_deadline_ms), 1, 7 * kDayMs,
              "", "Longest time limit a client may set; longer ones are cut to it."},
    // ---- metrics ----
    ConfigKey{"metrics.compat", "metrics-compat", kChoice, FIELD(metrics.compat), 0, 0,
              "off|gie|vllm",
              "Metrics under vLLM's names beside our own: gie: those that endpoint pickers of "
              "Kubernetes' inference gateways read; vllm: all that have an equivalent."},
    ConfigKey{"metrics.require_key", "", kBoolean, FIELD(metrics.require_key), 0, 0, "",
              "Whether /metrics on the main port needs an API key when there are keys."},
    ConfigKey{"metrics.ttft_buckets", "", kNumberList, FIELD(metrics.ttft_buckets), 1e-6, 1e6, "",
              "Bounds of the time-to-first-token histogram, in seconds. Empty: built in."},
    ConfigKey{"metrics.itl_buckets", "", kNumberList, FIELD(metrics.itl_buckets), 1e-6, 1e6, "",
              "Bounds of the inter-token latency histogram, in seconds."},
    ConfigKey{"metrics.e2e_buckets", "", kNumberList, FIELD(metrics.e2e_buckets), 1e-6, 1e6, "",
              "Bounds of the histograms of whole requests and their parts, in seconds."},
    // ---- tracing ----
    ConfigKey{"tracing.otlp_endpoint", "otlp-endpoint", kString, FIELD(tracing.otlp_endpoint), 0,
              1024, "",
              "Collector that gets a span per request over OTLP/gRPC: host:port, "
              "http://host:port, or https://host:port with TLS. Empty: none."},
    ConfigKey{"tracing.otlp_ca", "", kString, FIELD(tracing.otlp_ca), 0, 4096, "",
              "File with the authorities that a collector with TLS is trusted by. Empty: the "
              "system's."},
    ConfigKey{"tracing.sample_ratio", "", kNumber, FIELD(tracing.sample_ratio), 0, 1, "",
              "Share of the requests without a traceparent that are traced; one with it decides "
              "itself."},
    ConfigKey{"tracing.max_queued_spans", "", kInteger, FIELD(tracing.max_queued_spans), 1,
              1'000'000, "", "Spans that wait for the collector; past it new ones are dropped."},
    // ---- log ----
    ConfigKey{"log.level", "log-level", kChoice, FIELD(log.level), 0, 0,
              "trace|debug|info|warn|error|off", "Least severe message that is logged."},
    ConfigKey{"log.format", "log-format", kChoice, FIELD(log.format), 0, 0, "auto|text|json",
              "One line of text or one JSON object per message, to stderr; auto is text on a "
              "terminal and JSON elsewhere."},
    // ---- drain ----
    ConfigKey{"drain.delay", "drain-delay", kDuration, FIELD(drain.delay_ms), 0, kHourMs, "",
              "After SIGTERM: how long to go on accepting requests while health already says "
              "NOT_SERVING."},
    ConfigKey{"drain.timeout", "drain-timeout", kDuration, FIELD(drain.timeout_ms), 0, kDayMs, "",
              "Then: how long running requests may take to finish."},
    ConfigKey{"drain.grace", "", kDuration, FIELD(drain.grace_ms), 1, kHourMs, "",
              "At last, and after any other end: how long the engine may take to stop. A step "
              "that hangs for longer does not keep the process: it exits with code 70."},
};

#undef FIELD

}  // namespace

std::span<const ConfigKey> ConfigKeys() { return kKeys; }

}  // namespace inferd
