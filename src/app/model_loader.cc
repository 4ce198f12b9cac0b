#include "app/model_loader.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "app/device_report.h"
#include "app/rank_options.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/text/chat_template.h"
#include "inferd/text/tokenizer.h"
#include "inferd/text/tokenizer_config.h"

namespace inferd::app {
namespace {

namespace fs = std::filesystem;

// The last component of the directory's name.
std::string NameOf(const std::string& directory) {
  const fs::path path = fs::path(directory).lexically_normal();
  const fs::path name = path.has_filename() ? path.filename() : path.parent_path().filename();
  return name.empty() || name == "." || name == ".." ? "default" : name.string();
}

SamplingDefaults MakeDefaults(const GenerationDefaults& generation, spdlog::logger& logger) {
  SamplingDefaults defaults;
  defaults.temperature = generation.temperature.value_or(defaults.temperature);
  defaults.top_p = generation.top_p.value_or(defaults.top_p);
  defaults.top_k = generation.top_k.value_or(defaults.top_k);
  defaults.repetition_penalty = generation.repetition_penalty.value_or(defaults.repetition_penalty);
  if (generation.min_p.value_or(0.0F) != 0.0F) {
    logger.warn("generation_config.json: min_p is not used as a default");
  }
  return defaults;
}

// Tokenizer and chat template, into `served`.
Status LoadText(const ServerConfig& config, ServedModel* served, spdlog::logger& logger) {
  const fs::path directory = config.model.path;
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    const bool absent = !error || error == std::errc::no_such_file_or_directory;
    return NotFoundError(absent ? "no such directory" : "cannot be opened: " + error.message());
  }
  INFERD_ASSIGN_OR_RETURN(const TokenizerConfig text, LoadTokenizerConfig(directory));
  INFERD_ASSIGN_OR_RETURN(served->tokenizer, Tokenizer::Load(directory, TokenizerLimits()));
  served->bos_token = text.bos_token;
  served->eos_token = text.eos_token;
  if (text.chat_template.empty()) {
    logger.warn("the checkpoint has no chat template: chat requests will be refused");
    return OkStatus();
  }
  StatusOr<std::unique_ptr<const ChatTemplate>> compiled =
      ChatTemplate::Compile(text.chat_template, ChatTemplateLimits());
  if (!compiled.ok()) return compiled.status().WithPrefix("chat template");
  served->chat_template = std::move(*compiled);
  return OkStatus();
}

// What the weights and the configuration say, into `served`.
Status Describe(const ServerConfig& config, const RankInfo& info, const Clock& clock,
                spdlog::logger& logger, ServedModel* served) {
  if (served->tokenizer->vocab_size() > info.config.vocab_size) {
    return FailedPreconditionError(
        "tokenizer.json has " + std::to_string(served->tokenizer->vocab_size()) +
        " tokens, but the model knows only " + std::to_string(info.config.vocab_size));
  }
  served->id = config.model.name.empty() ? NameOf(config.model.path) : config.model.name;
  served->aliases = config.model.aliases;
  served->root = config.model.path;
  served->architecture = info.config.architecture;
  served->dtype = DTypeName(info.config.dtype);
  served->quantization = QuantMethodName(info.config.quantization.method);
  served->tp = info.place.shape.tp();
  served->pp = info.place.shape.pp;
  served->created = clock.UnixUs() / 1'000'000;
  served->max_model_len = info.memory.max_model_len;
  served->vocab_size = info.config.vocab_size;
  served->block_size = config.engine.block_size;
  served->num_blocks = info.memory.num_blocks;
  served->cache_dtype = config.kv_cache.dtype;
  served->prefix_caching = config.engine.prefix_caching;
  served->max_running = config.engine.max_running;
  served->max_queued_requests = config.engine.max_queued_requests;
  served->max_batched_tokens = config.engine.max_batched_tokens;
  served->eos_tokens = info.end_tokens;
  if (served->eos_tokens.empty() && served->tokenizer->eos_id() >= 0) {
    served->eos_tokens.push_back(served->tokenizer->eos_id());
  }
  served->defaults = MakeDefaults(info.generation, logger);
  return OkStatus();
}

std::string MiB(int64_t bytes) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%10.1f MiB", static_cast<double>(bytes) / 0x1p20);
  return buffer.data();
}

std::string DescribeRank(const RankInfo& rank) {
  const MemoryPlan& plan = rank.memory;
  std::string text = "rank " + std::to_string(rank.place.world_rank());
  text.resize(12, ' ');
  text += MiB(plan.total_bytes) + "  stage " + std::to_string(rank.place.pp_rank) + ", " +
          std::to_string(rank.num_layers) + " layers, weights " + MiB(plan.weight_bytes) +
          ", KV cache " + MiB(plan.kv_bytes) + "\n";
  return text;
}

// Where the ranks are processes `backends` is empty after it.
StatusOr<std::unique_ptr<LocalExecutor>> StartReplica(
    const ServerConfig& config, int replica, ReplicaBackends* backends, const RemoteRanks& remote,
    EntropySource& entropy, const Clock& clock, const std::shared_ptr<spdlog::logger>& logger) {
  const ParallelShape shape = ShapeOf(config);
  RankOptions options =
      MakeRankOptions(config, *backends->front(), config.parallel.dp - replica, logger);
  // Hosts are taken to be alike; devices were counted by rank.
  if (!backends->front()->HasOwnMemory()) options.memory.available_bytes *= remote.num_hosts;
  if (!RanksAreProcesses(config, *backends->front())) {
    std::vector<Ops*> ops;
    for (const std::unique_ptr<Backend>& backend : *backends) ops.push_back(&backend->ops());
    return StartThreadExecutor(options, shape, ops, clock, logger);
  }
  INFERD_ASSIGN_OR_RETURN(std::vector<RankInfo> plan,
                          PlanGroup(options, shape, backends->front()->ops(), logger));
  for (const std::unique_ptr<Backend>& planner : *backends) planner->ReleaseDevice();
  backends->clear();
  const int32_t num_blocks = plan.front().memory.num_blocks;
  return StartProcessExecutor(MakeProcessOptions(config, replica, num_blocks, remote),
                              std::move(plan), entropy, clock, logger);
}

// What the first replica serves becomes what all of them do.
void DescribeReplicas(std::span<const std::unique_ptr<LocalExecutor>> executors,
                      ServedModel* served) {
  if (executors.size() == 1) return;
  const auto count = static_cast<int32_t>(executors.size());
  served->dp = count;
  served->num_blocks = 0;
  for (const auto& executor : executors) {
    const MemoryPlan& plan = executor->info().memory;
    served->num_blocks += plan.num_blocks;
    served->max_model_len = std::min(served->max_model_len, plan.max_model_len);
  }
  served->max_running *= count;
  served->max_queued_requests *= count;
}

// The embedding is mapped once for all.
void Add(const MemoryPlan& rank, MemoryPlan* sum) {
  sum->weight_bytes += rank.weight_bytes;
  sum->streamed_bytes += rank.streamed_bytes;
  sum->mapped_bytes = std::max(sum->mapped_bytes, rank.mapped_bytes);
  sum->rope_bytes += rank.rope_bytes;
  sum->workspace_bytes += rank.workspace_bytes;
  sum->scratch_bytes += rank.scratch_bytes;
  sum->overhead_bytes += rank.overhead_bytes;
  sum->copied_bytes += rank.copied_bytes;
  sum->kv_bytes_per_block += rank.kv_bytes_per_block;
  sum->kv_bytes += rank.kv_bytes;
  sum->total_bytes += rank.total_bytes;
}

}  // namespace

StatusOr<std::vector<ReplicaBackends>> MakeBackends(const ServerConfig& config, int num_hosts,
                                                    const std::shared_ptr<spdlog::logger>& logger) {
  const int ranks = ShapeOf(config).ranks();
  const int ranks_here = RanksHere(config) / num_hosts;
  std::vector<ReplicaBackends> backends(static_cast<size_t>(config.parallel.dp));
  for (int replica = 0; replica < config.parallel.dp; ++replica) {
    ReplicaBackends& made = backends[static_cast<size_t>(replica)];
    do {
      const int rank = replica * ranks + static_cast<int>(made.size());
      INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                              MakeBackend(config, rank, ranks_here, logger));
      made.push_back(std::move(backend));
    } while (std::ssize(made) < ranks && !RanksAreProcesses(config, *made.front()));
  }
  return backends;
}

StatusOr<LoadedModel> LoadServedModel(const ServerConfig& config,
                                      std::vector<ReplicaBackends>* backends,
                                      const RemoteRanks& remote, EntropySource& entropy,
                                      const Clock& clock,
                                      const std::shared_ptr<spdlog::logger>& logger) {
  LoadedModel loaded;
  const Status text = LoadText(config, &loaded.served, *logger);
  if (!text.ok()) return text.WithPrefix(config.model.path);
  malloc_trim(0);  // what reading it left behind is not to lie beside the weights
  loaded.served.backend = backends->front().front()->ops().name();
  loaded.served.device = backends->front().front()->Description();
  for (size_t replica = 0; replica < backends->size(); ++replica) {
    StatusOr<std::unique_ptr<LocalExecutor>> executor = StartReplica(
        config, static_cast<int>(replica), &(*backends)[replica], remote, entropy, clock, logger);
    if (!executor.ok()) return executor.status().WithPrefix(config.model.path);
    loaded.executors.push_back(std::move(*executor));
  }
  const Status described =
      Describe(config, loaded.executors.front()->info(), clock, *logger, &loaded.served);
  if (!described.ok()) return described.WithPrefix(config.model.path);
  DescribeReplicas(loaded.executors, &loaded.served);
  loaded.served.devices = DevicesOf(loaded.executors);
  loaded.served.read_devices =
      WatchDevices(loaded.served.devices, RanksHere(config) / remote.num_hosts, clock, *logger);
  return loaded;
}

StatusOr<std::string> DescribeMemory(const ServerConfig& config) {
  const int num_hosts = std::max(1, static_cast<int>(config.parallel.hosts.size()));
  INFERD_ASSIGN_OR_RETURN(const std::vector<ReplicaBackends> backends,
                          MakeBackends(config, num_hosts, nullptr));
  Backend& backend = *backends.front().front();
  const RankOptions options = MakeRankOptions(config, backend, config.parallel.dp, nullptr);
  const ParallelShape shape = ShapeOf(config);
  const StatusOr<std::vector<RankInfo>> ranks = PlanGroup(options, shape, backend.ops(), nullptr);
  if (!ranks.ok()) return ranks.status().WithPrefix(config.model.path);
  const RankInfo& info = ranks->front();
  std::string text;
  text += "device      " + backend.Description() + "\n";
  text += "model       " + info.config.architecture + ", " +
          std::string(DTypeName(info.config.dtype)) + ", context of " +
          std::to_string(info.memory.max_model_len) + " tokens\n";
  if (config.parallel.dp > 1) {
    text += "replicas    " + std::to_string(config.parallel.dp) + ", each as follows\n";
  }
  MemoryPlan sum = info.memory;
  if (ranks->size() > 1) {
    text += "ranks       " + std::to_string(ranks->size()) + ": " + ShapeText(shape) + "\n";
    sum = MemoryPlan();
    sum.num_blocks = info.memory.num_blocks;
    for (const RankInfo& rank : *ranks) {
      text += DescribeRank(rank);
      Add(rank.memory, &sum);
    }
  }
  text += "weights     " + MiB(sum.weight_bytes) + "\n";
  if (sum.streamed_bytes > 0) {
    text += "streamed    " + MiB(sum.streamed_bytes) + "  layers, from the packed file\n";
  }
  text += "embedding   " + MiB(sum.mapped_bytes) +
          (sum.copied_bytes > 0   ? "  copied, with the overhead\n"
           : sum.mapped_bytes > 0 ? "  read from the file\n"
                                  : "  the output matrix's rows\n");
  text += "rope        " + MiB(sum.rope_bytes) + "\n";
  text += "workspace   " + MiB(sum.workspace_bytes + sum.scratch_bytes) + "\n";
  text += "KV cache    " + MiB(sum.kv_bytes) + "  " + std::to_string(sum.num_blocks) +
          " blocks of " + std::to_string(sum.kv_bytes_per_block) + " bytes, " +
          std::to_string(sum.KvTokens(config.engine.block_size)) + " tokens\n";
  if (sum.overhead_bytes > 0) {
    text += "overhead    " + MiB(sum.overhead_bytes) +
            (sum.copied_bytes > 0 ? "  the embedding's copy, padding, libraries\n"
                                  : "  padding, libraries\n");
  }
  text += "total       " + MiB(sum.total_bytes) + "\n";
  if (backend.HasOwnMemory()) text += DescribeUse(*ranks);
  text += "available   " + MiB(options.memory.available_bytes) + "\n";
  return text;
}

}  // namespace inferd::app
