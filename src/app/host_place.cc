#include "app/host_place.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>

#include "app/rank_options.h"
#include "inferd/runtime/remote_worker.h"

namespace inferd::app {
namespace {

// Those of the groups follow it.
constexpr int kMaxPort = 65'000;
constexpr size_t kMinKeyBytes = 16;
constexpr size_t kMaxKeyBytes = 4096;

std::optional<std::string> Lookup(const std::vector<std::string>& environment,
                                  std::string_view name) {
  for (const std::string& entry : environment) {
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.rfind(name, 0) == 0) {
      return entry.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

StatusOr<int> Number(const std::vector<std::string>& environment, const char* name, int limit) {
  const std::optional<std::string> text = Lookup(environment, name);
  if (!text) return InvalidArgumentError(std::string(name) + " is not in the environment");
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0 || value >= limit) {
    return InvalidArgumentError(std::string(name) + ": " + *text + " is not within 0 and " +
                                std::to_string(limit - 1));
  }
  return value;
}

// The file's first line.
StatusOr<std::string> ReadKey(const std::string& path) {
  const auto bad = [&path](const std::string& why) {
    return InvalidArgumentError("parallel.key_file: " + path + ": " + why);
  };
  if (path.empty()) return InvalidArgumentError("parallel.key_file: needed with several hosts");
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return bad(std::strerror(errno));
  if ((info.st_mode & S_IRWXO) != 0) return bad("anybody may read it");
  std::ifstream file(path);
  std::string key;
  std::getline(file, key);
  if (key.size() < kMinKeyBytes || key.size() > kMaxKeyBytes) {
    return bad("its first line must have at least " + std::to_string(kMinKeyBytes) + " characters");
  }
  return key;
}

Status FromList(const ServerConfig& config, const std::vector<std::string>& environment,
                HostPlace* place) {
  const std::vector<std::string>& hosts = config.parallel.hosts;
  place->remote.num_hosts = static_cast<int>(hosts.size());
  place->remote.leader = hosts[0];
  place->index = config.parallel.host_index;
  for (const char* const name : {"LWS_WORKER_INDEX", "RANK"}) {
    if (place->index >= 0 || !Lookup(environment, name)) continue;
    INFERD_ASSIGN_OR_RETURN(place->index, Number(environment, name, place->remote.num_hosts));
  }
  if (place->index < 0 || place->index >= place->remote.num_hosts) {
    return InvalidArgumentError("parallel.host_index: must say which of parallel.hosts this is");
  }
  place->own_host = hosts[static_cast<size_t>(place->index)];
  return OkStatus();
}

Status FromLauncher(const std::vector<std::string>& environment,
                    const std::array<const char*, 3>& names, HostPlace* place) {
  place->remote.leader = *Lookup(environment, names[0]);
  INFERD_ASSIGN_OR_RETURN(place->remote.num_hosts, Number(environment, names[1], kMaxRanks + 1));
  if (place->remote.num_hosts < 2) {
    *place = HostPlace();
    return OkStatus();
  }
  INFERD_ASSIGN_OR_RETURN(place->index, Number(environment, names[2], place->remote.num_hosts));
  return OkStatus();
}

}  // namespace

StatusOr<HostPlace> FindHostPlace(const ServerConfig& config,
                                  const std::vector<std::string>& environment) {
  HostPlace place;
  place.remote.port = config.parallel.port;
  place.remote.silence_us = config.parallel.heartbeat_timeout_ms * 1000;
  constexpr std::array kLws = {"LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"};
  constexpr std::array kLauncher = {"MASTER_ADDR", "WORLD_SIZE", "RANK"};
  if (config.parallel.hosts.size() > 1) {
    INFERD_RETURN_IF_ERROR(FromList(config, environment, &place));
  } else if (!config.parallel.key_file.empty() && Lookup(environment, kLws[0])) {
    INFERD_RETURN_IF_ERROR(FromLauncher(environment, kLws, &place));
  } else if (!config.parallel.key_file.empty() && Lookup(environment, kLauncher[0])) {
    INFERD_RETURN_IF_ERROR(FromLauncher(environment, kLauncher, &place));
    if (Lookup(environment, "MASTER_PORT")) {
      INFERD_ASSIGN_OR_RETURN(place.remote.port, Number(environment, "MASTER_PORT", kMaxPort + 1));
    }
  }
  if (place.remote.num_hosts == 1) return place;
  INFERD_ASSIGN_OR_RETURN(place.remote.key, ReadKey(config.parallel.key_file));
  if (ShapeOf(config).ranks() % place.remote.num_hosts != 0) {
    return InvalidArgumentError("parallel.tp: " + std::to_string(ShapeOf(config).ranks()) +
                                " ranks cannot be shared out evenly to " +
                                std::to_string(place.remote.num_hosts) + " hosts");
  }
  if (config.parallel.dp > 1) {
    return InvalidArgumentError("parallel.dp: replicas are on one host");
  }
  if (config.parallel.executor == "thread") {
    return InvalidArgumentError("parallel.executor: ranks of several hosts are processes");
  }
  if (!place.leads() && place.own_host.empty()) {
    INFERD_ASSIGN_OR_RETURN(place.own_host, AddressTowards(place.remote.leader, place.remote.port));
  }
  return place;
}

}  // namespace inferd::app
