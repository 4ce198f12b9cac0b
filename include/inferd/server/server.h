// The front end: gRPC services, the HTTP API and the side port, validation, tokenizer and
// detokenizer pools, metrics. It sees requests and text, never tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "inferd/auth/key_ring.h"
#include "inferd/base/clock.h"
#include "inferd/base/device_reading.h"
#include "inferd/base/ids.h"
#include "inferd/base/random.h"
#include "inferd/base/request_limits.h"
#include "inferd/base/status.h"
#include "inferd/engine/engine.h"
#include "inferd/net/http2_limits.h"
#include "inferd/net/tls.h"
#include "inferd/text/chat_template.h"
#include "inferd/text/tokenizer.h"
#include "spdlog/logger.h"

namespace inferd {

// What a reload did, by the names of configuration keys.
struct ReloadReport {
  std::vector<std::string> applied;
  std::vector<std::string> restart_required;
};

// What the admin service asks of the process around the server; on its threads.
struct AdminActions {
  std::function<StatusOr<ReloadReport>()> reload;
  std::function<Status(const std::string& level)> set_log_level;
};

struct ServerOptions {
  std::string grpc_address = "127.0.0.1:50051";  // and HTTP; port 0: any free one
  std::string http_address = "127.0.0.1:9091";   // the side port; empty: none
  int64_t max_message_bytes = 8 << 20;
  int64_t max_pending_body_bytes = 256 << 20;  // all connections together
  int32_t max_concurrent_streams = 128;        // per connection
  int64_t max_stream_buffer_bytes = 256 << 10;
  int64_t write_stall_timeout_ms = 30'000;
  int64_t sse_keepalive_ms = 15'000;  // silence before a comment goes out; 0: none does
  int64_t max_connection_age_ms = 0;  // 0: off
  int64_t keepalive_time_ms = 60'000;
  int64_t keepalive_timeout_ms = 20'000;
  bool reflection = true;
  // Null: no keys. Then a client's certificate says who it is, if `client_certificates`
  // (the listener asks for one), or everybody may do everything.
  std::shared_ptr<const KeyRing> api_keys;
  bool client_certificates = false;
  // Answer over HTTP/1.1 only who names an address, localhost or one of `allowed_hosts`,
  // and no page of another site: for servers that ask for no key.
  bool guard_browsers = false;
  std::vector<std::string> allowed_hosts;
  std::shared_ptr<TlsServerContext> tls;  // of the main port; null: plain
  std::string admin_address;              // "unix:/path" or a loopback "host:port"; empty: none
  AdminActions admin;
  bool metrics_require_key = true;  // on the main port
  bool http = true;                 // OpenAI's API, on the port that gRPC has
  bool ui = false;                  // the page /ui there
  // How connections are taken and kept.
  int32_t network_threads = 1;
  int32_t max_connections = 4096;
  int32_t max_connections_per_address = 256;
  int32_t max_new_connections_per_address = 1'000;  // a second
  int64_t handshake_timeout_ms = 5'000;
  int64_t header_timeout_ms = 10'000;
  int64_t body_timeout_ms = 15'000;
  int64_t idle_timeout_ms = 300'000;
  Http2Limits http2;
  int32_t tokenizer_threads = 2;
  int32_t tokenizer_queue = 256;  // jobs; past it requests are refused
  int32_t detokenizer_threads = 1;
  RequestLimits limits;
  std::string metrics_compat = "gie";  // as in the configuration
  std::string trace_endpoint;          // of an OTLP/gRPC collector; empty: none
  std::string trace_authorities;       // PEM, for https://; empty: the system's
  double trace_sample_ratio = 1.0;
  int32_t trace_max_queued = 2048;
  std::vector<double> ttft_buckets;  // seconds; empty: the defaults
  std::vector<double> itl_buckets;
  std::vector<double> e2e_buckets;
  std::string version;     // "0.1.0"
  std::string git_commit;  // may be empty
  bool json_logs = false;  // access lines as JSON objects instead of key=value
};

// What a client leaves unset comes from here (generation_config.json).
struct SamplingDefaults {
  float temperature = 1.0F;
  float top_p = 1.0F;
  int32_t top_k = 0;
  float repetition_penalty = 1.0F;
};

// A device that a rank has to itself, and what its memory is for.
struct ServedDevice {
  int32_t rank = 0;   // of all replicas
  int32_t index = 0;  // among the devices of its host that the rank may use
  std::string name;
  std::string bus_id;
  std::vector<std::pair<std::string, int64_t>> memory;  // bytes by kind
};

// The model behind the server, as clients see it.
struct ServedModel {
  std::string id;  // the name clients use
  std::vector<std::string> aliases;
  std::string root;  // directory of the weights
  std::string architecture;
  std::string dtype;
  std::string quantization;  // "awq", "gptq", "int8"; empty: none
  std::string backend;       // "cpu", for the log and GetServerInfo
  std::string device;        // Backend::Description()
  int32_t tp = 1;            // ranks of a stage
  int32_t pp = 1;            // stages
  int32_t dp = 1;            // replicas
  int64_t created = 0;       // Unix seconds
  int32_t max_model_len = 0;
  int32_t vocab_size = 0;
  int32_t block_size = 0;
  int32_t num_blocks = 0;
  std::string cache_dtype;  // "f32", "bf16", "int8"
  bool prefix_caching = true;
  int32_t max_running = 0;
  int32_t max_queued_requests = 0;
  int32_t max_batched_tokens = 0;
  double load_seconds = 0;
  std::vector<ServedDevice> devices;  // empty: the host's processors
  // One for each of `devices`, of late, at each scrape; any thread. Null: nobody can say.
  std::function<std::vector<DeviceReading>()> read_devices;
  std::vector<TokenId> eos_tokens;
  SamplingDefaults defaults;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: no chat
  std::string bos_token;
  std::string eos_token;
};

enum class ServerState : uint8_t { kLoading, kReady, kDraining, kFailed };

// Thread-safe. Destruction stops everything at once.
class Server {
 public:
  virtual ~Server() = default;

  // Opens both ports; state kLoading: health says NOT_SERVING, requests get
  // UNAVAILABLE/NOT_READY. UNAVAILABLE naming the address when a port is taken.
  static StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, const Clock& clock,
                                                 EntropySource& entropy,
                                                 std::shared_ptr<spdlog::logger> logger);

  // Where the engine posts its events.
  virtual OutputSink& sink() = 0;
  // From here on requests are served. `engine` must outlive the server's
  // Shutdown. Once.
  virtual void Attach(ServedModel model, Engine& engine) = 0;
  // Loading failed: health stays NOT_SERVING.
  virtual void Fail() = 0;

  // Keys read again, for requests from now on. Not null where Start had keys.
  virtual void SetApiKeys(std::shared_ptr<const KeyRing> keys) = 0;

  // The configuration was read again: whether it was good. For the metrics.
  virtual void ReportReload(bool successful) = 0;

  // Not ready any more (health, /readyz), but requests are still served, so that
  // routers notice first.
  virtual void StartDraining() = 0;
  // Refuses new requests (UNAVAILABLE/DRAINING); waits until the running ones
  // are done or `timeout_ms` passed, then ends the rest with UNAVAILABLE, and
  // closes the ports. True if nothing had to be cut off. A second call with a
  // shorter limit, from another thread, cuts the first one's wait short.
  virtual bool Shutdown(int64_t timeout_ms) = 0;

  virtual ServerState state() const = 0;
  virtual int grpc_port() const = 0;
  virtual int http_port() const = 0;   // 0 when off
  virtual int admin_port() const = 0;  // likewise; 1 for a Unix socket
  virtual int64_t live_requests() const = 0;
};

}  // namespace inferd
