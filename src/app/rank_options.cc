#include "app/rank_options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "app/version.h"
#include "inferd/config/config_key.h"
#include "inferd/config/layer_split.h"
#include "inferd/config/tp_grid.h"
#include "plan/byte_reader.h"
#include "plan/byte_writer.h"

namespace inferd::app {
namespace {

// The configuration that ranks need, and no more: nothing of it is secret.
bool IsForRanks(const ConfigKey& key) {
  constexpr std::array<std::string_view, 6> kSections = {"model",    "engine", "parallel",
                                                         "kv_cache", "cpu",    "log"};
  if (key.name == "parallel.key_file") return false;
  return std::find(kSections.begin(), kSections.end(), key.section()) != kSections.end() ||
         key.name == "server.core_dumps";
}

}  // namespace

ParallelShape ShapeOf(const ServerConfig& config) {
  const StatusOr<TpGrid> grid = ParseTpGrid(config.parallel.tp);
  INFERD_CHECK(grid.ok());  // checked with the configuration
  return {grid->rows, grid->columns, config.parallel.pp, config.model.weights == "sharded"};
}

ParallelShape ShapeOnHosts(const ServerConfig& config, int num_hosts) {
  ParallelShape shape = ShapeOf(config);
  const std::string& sums = config.parallel.all_reduce;
  if (sums == "hierarchical" || sums == "always-hierarchical") shape.sum_hosts = num_hosts;
  return shape;
}

bool RanksAreProcesses(const ServerConfig& config, const Backend& backend) {
  if (config.parallel.executor != "auto") return config.parallel.executor == "process";
  return ShapeOf(config).ranks() > 1 || backend.HasOwnMemory();
}

int RanksHere(const ServerConfig& config) { return config.parallel.dp * ShapeOf(config).ranks(); }

int DepthOf(const ServerConfig& config) {
  return config.parallel.pp > 1 ? config.parallel.pp + 1 : config.engine.depth;
}

BackendOptions BackendOptionsOf(const ServerConfig& config, int rank, int ranks_here) {
  BackendOptions options;
  options.threads = config.cpu.threads;
  options.rank = options.device = rank % ranks_here;
  options.ranks = ranks_here;
  options.pinning = config.cpu.pinning == "on"    ? ThreadPinning::kOn
                    : config.cpu.pinning == "off" ? ThreadPinning::kOff
                                                  : ThreadPinning::kAuto;
  options.activations = config.model.activations == "auto"   ? Activations::kAuto
                        : config.model.activations == "bf16" ? Activations::kBF16
                                                             : Activations::kF32;
  options.amx = config.cpu.amx;
  options.layer_ranges = config.engine.layer_ranges;
  options.batch_invariant = config.engine.batch_invariant;
  // Ranks of a group compare their tokens: all take the first choices, which are the same.
  if (ShapeOf(config).ranks() == 1) options.tuning_directory = config.model.packed_cache;
  return options;
}

StatusOr<std::unique_ptr<Backend>> MakeBackend(const ServerConfig& config, int rank, int ranks_here,
                                               const std::shared_ptr<spdlog::logger>& logger) {
  BackendOptions options = BackendOptionsOf(config, rank, ranks_here);
  options.logger = logger;
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                          CreateBackend(config.model.backend, options));
  INFERD_RETURN_IF_ERROR(CheckSplit(config, *backend, ranks_here));
  return backend;
}

Status CheckSplit(const ServerConfig& config, const Backend& backend, int ranks_here) {
  if (!backend.HasOwnMemory() || ShapeOf(config).ranks() == 1) return OkStatus();
  if (!RanksAreProcesses(config, backend)) {
    return FailedPreconditionError(
        "parallel.executor: ranks with a device each are processes; thread is for processors");
  }
  if (config.parallel.all_reduce != "auto" && config.parallel.all_reduce != "exact") {
    return FailedPreconditionError("parallel.all_reduce: " + config.parallel.all_reduce +
                                   " is for processors; devices sum exactly (auto or exact)");
  }
  return backend.CheckGroup(ranks_here).WithPrefix("parallel.tp, parallel.pp");
}

RankOptions MakeRankOptions(const ServerConfig& config, const Backend& backend, int replicas_left,
                            const std::shared_ptr<spdlog::logger>& logger) {
  RankOptions options;
  options.model_dir = config.model.path;
  options.max_in_flight = DepthOf(config);
  const auto split = ParseLayerSplit(config.parallel.layer_split, config.parallel.pp);
  INFERD_CHECK(split.ok());  // checked with the configuration
  options.layer_split = *split;
  options.compare_tokens = config.parallel.compare_tokens;
  options.all_reduce =  // a choice of the table, so it has one
      ParseAllReduceMode(config.parallel.all_reduce).value_or(AllReduceMode::kExact);
  const bool stream = config.model.weights == "host-stream";
  options.packed_cache = {config.model.packed_cache, config.model.packed_cache_size_bytes, logger,
                          stream};
  MemoryRequest& memory = options.memory;
  memory.max_model_len = config.model.max_len;
  memory.max_running = config.engine.max_running;
  memory.max_batched_tokens = config.engine.max_batched_tokens;
  memory.block_size = config.engine.block_size;
  memory.kv_dtype = config.kv_cache.dtype == "f32"    ? DType::kF32
                    : config.kv_cache.dtype == "bf16" ? DType::kBF16
                    : config.kv_cache.dtype == "fp8"  ? DType::kF8E4M3
                                                      : DType::kI8;
  memory.kv_bytes = config.kv_cache.size_bytes;
  memory.kv_fraction = config.kv_cache.fraction;
  memory.stream_weights = stream;
  memory.available_bytes = backend.AvailableMemoryBytes();
  // In a plan 0 stands for unknown: where nothing is left it is 1.
  if (backend.HasOwnMemory()) {
    const int ranks = ShapeOf(config).ranks();
    if (ranks > 1) memory.available_bytes -= backend.GroupBytes();
    memory.available_bytes = std::max<int64_t>(memory.available_bytes, 1) * ranks;
  } else {
    memory.available_bytes = std::max<int64_t>(memory.available_bytes / replicas_left, 1);
  }
  return options;
}

std::string EncodeRankPayload(const RankPayload& payload) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Put(payload.num_blocks);
  out.Put(payload.ranks_here);
  out.Put(payload.first_rank);
  for (const ConfigKey& key : ConfigKeys()) {
    if (!IsForRanks(key)) continue;
    out.PutText(key.name);
    out.PutText(ConfigValueText(key, payload.config));
  }
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

StatusOr<RankPayload> DecodeRankPayload(const std::string& text) {
  const auto garbled = [](const std::string& what) {
    return Status(StatusCode::kDataLoss, "a rank's configuration: " + what);
  };
  ByteReader in(std::as_bytes(std::span(text)));
  RankPayload payload;
  payload.num_blocks = in.Take<int32_t>();
  payload.ranks_here = in.Take<int32_t>();
  payload.first_rank = in.Take<int32_t>();
  in.Require(payload.num_blocks > 0 && payload.first_rank >= 0 &&
             payload.first_rank < payload.ranks_here);
  while (in.ok() && !in.AtEnd()) {
    const std::string name = in.TakeText();
    const std::string value = in.TakeText();
    const ConfigKey* const key = FindConfigKey(name);
    if (!in.ok() || key == nullptr || !IsForRanks(*key)) return garbled("unknown key " + name);
    INFERD_RETURN_IF_ERROR(SetConfigValue(*key, value, payload.config));
  }
  if (!in.ok() || !ParseTpGrid(payload.config.parallel.tp).ok()) return garbled("cut short");
  return payload;
}

ProcessExecutorOptions MakeProcessOptions(const ServerConfig& config, int replica,
                                          int32_t num_blocks, const RemoteRanks& remote) {
  ProcessExecutorOptions options;
  options.shape = ShapeOnHosts(config, remote.num_hosts);
  options.max_in_flight = DepthOf(config);
  options.command = {"/proc/self/exe", "rank"};
  options.version = ProgramVersion();
  options.remote = remote;
  options.payload = EncodeRankPayload(
      {config, num_blocks, RanksHere(config) / remote.num_hosts, replica * options.shape.ranks()});
  options.start_timeout_us = config.parallel.start_timeout_ms * 1000;
  options.last_backoff_us = config.parallel.max_backoff_ms * 1000;
  options.max_failed_starts = config.parallel.max_failed_starts;
  return options;
}

std::string ProgramVersion() {
  std::string version(kVersion);
  if (!kGitCommit.empty()) version += " (" + std::string(kGitCommit) + ")";
  return version;
}

}  // namespace inferd::app
