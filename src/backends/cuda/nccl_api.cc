#include "backends/cuda/nccl_api.h"

#include <dlfcn.h>

namespace inferd::nccl {
namespace {

// Sets `function` to the library's `symbol`; whether there is one.
template <class Function>
bool Find(void* library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, symbol));
  return function != nullptr;
}

}  // namespace

std::string VersionText(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

StatusOr<std::shared_ptr<const Api>> Open(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return UnavailableError(std::string("NCCL cannot be opened: ") +
                            (why != nullptr ? why : library));
  }
  const std::string name(library);
  auto api = std::make_shared<Api>();
  if (!Find(handle, "ncclGetVersion", api->get_version) ||
      api->get_version(&api->version) != Result::kSuccess) {
    return FailedPreconditionError(name + " does not tell its version");
  }
  if (api->version < kLeastVersion) {
    return FailedPreconditionError("NCCL " + VersionText(api->version) + " is too old, " +
                                   VersionText(kLeastVersion) + " is the least");
  }
  const char* missing = nullptr;
  const auto require = [&](const char* symbol, auto& function) {
    if (!Find(handle, symbol, function)) missing = symbol;
  };
  require("ncclGetErrorString", api->get_error_string);
  require("ncclGetLastError", api->get_last_error);
  require("ncclGetUniqueId", api->get_unique_id);
  require("ncclCommInitRankConfig", api->comm_init_rank_config);
  require("ncclCommGetAsyncError", api->comm_get_async_error);
  require("ncclCommAbort", api->comm_abort);
  require("ncclGroupStart", api->group_start);
  require("ncclGroupEnd", api->group_end);
  require("ncclAllReduce", api->all_reduce);
  require("ncclReduceScatter", api->reduce_scatter);
  require("ncclAllGather", api->all_gather);
  require("ncclBroadcast", api->broadcast);
  require("ncclSend", api->send);
  require("ncclRecv", api->recv);
  require("ncclMemAlloc", api->mem_alloc);
  require("ncclMemFree", api->mem_free);
  require("ncclCommRegister", api->comm_register);
  if (missing != nullptr) return FailedPreconditionError(name + " has no " + missing);
  (void)Find(handle, "ncclCommWindowRegister", api->comm_window_register);
  return std::shared_ptr<const Api>(std::move(api));
}

Status ErrorStatus(const Api& api, Comm* comm, Result result, const std::string& what) {
  const char* meaning = api.get_error_string(result);
  std::string text = "NCCL: " + what + ": " + (meaning != nullptr ? meaning : "unknown error");
  const char* more = api.get_last_error(comm);
  if (more != nullptr && *more != '\0') text += std::string(" (") + more + ")";
  switch (result) {
    case Result::kRemoteError:
      return UnavailableError(text);
    case Result::kInvalidArgument:
    case Result::kInvalidUsage:
      return FailedPreconditionError(text);
    default:
      return InternalError(text);
  }
}

}  // namespace inferd::nccl
