// What the library uses of NCCL, declared here by name and number: NCCL is opened when a
// group is made, so that a build needs no header of it, and one GPU needs no NCCL.
// tests/backends/cuda/nccl_header_test.cc compares this with nccl.h, where there is one.
#pragma once

#include <cuda_runtime_api.h>

#include <climits>
#include <cstddef>
#include <memory>
#include <string>

#include "inferd/base/status.h"

namespace inferd::nccl {

struct Comm;    // ncclComm, a rank's end of a group
struct Window;  // of symmetric memory

enum class Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};
enum class Type : int { kUint8 = 1, kFloat32 = 7, kBfloat16 = 9 };
enum class Reduction : int { kSum = 0 };
inline constexpr int kSymmetricWindow = 1;

struct UniqueId {
  char bytes[128];
};

// ncclConfig_t as it began; later versions take it by its size and version.
struct Config {
  size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
  int reserved = INT_MIN;
};

// The oldest version taken: the first with memory of its own for registered buffers.
inline constexpr int kLeastVersion = 21900;

// The functions of one NCCL. Calls on a Comm are made by one thread at a time.
struct Api {
  int version = 0;  // 22809: 2.28.9

  Result (*get_version)(int*) = nullptr;
  const char* (*get_error_string)(Result) = nullptr;
  const char* (*get_last_error)(Comm*) = nullptr;
  Result (*get_unique_id)(UniqueId*) = nullptr;
  Result (*comm_init_rank_config)(Comm**, int ranks, UniqueId, int rank, Config*) = nullptr;
  Result (*comm_get_async_error)(Comm*, Result*) = nullptr;
  Result (*comm_abort)(Comm*) = nullptr;
  Result (*group_start)() = nullptr;
  Result (*group_end)() = nullptr;
  Result (*all_reduce)(const void*, void*, size_t, Type, Reduction, Comm*, cudaStream_t) = nullptr;
  Result (*reduce_scatter)(const void*, void*, size_t, Type, Reduction, Comm*,
                           cudaStream_t) = nullptr;
  Result (*all_gather)(const void*, void*, size_t, Type, Comm*, cudaStream_t) = nullptr;
  Result (*broadcast)(const void*, void*, size_t, Type, int root, Comm*, cudaStream_t) = nullptr;
  Result (*send)(const void*, size_t, Type, int peer, Comm*, cudaStream_t) = nullptr;
  Result (*recv)(void*, size_t, Type, int peer, Comm*, cudaStream_t) = nullptr;
  Result (*mem_alloc)(void**, size_t) = nullptr;
  Result (*mem_free)(void*) = nullptr;
  Result (*comm_register)(Comm*, void*, size_t, void** handle) = nullptr;
  // From 2.27 on, else null.
  Result (*comm_window_register)(Comm*, void*, size_t, Window**, int flags) = nullptr;
};

inline constexpr char kLibrary[] = "libnccl.so.2";

// Opens the library, which stays open as long as the process. UNAVAILABLE when there is
// none, FAILED_PRECONDITION when it is too old or lacks a function.
StatusOr<std::shared_ptr<const Api>> Open(const char* library = kLibrary);

// "2.28.9".
std::string VersionText(int version);

// "NCCL: WHAT: what the library says of it", with the code that suits it: UNAVAILABLE
// where another rank is to blame.
Status ErrorStatus(const Api& api, Comm* comm, Result result, const std::string& what);

}  // namespace inferd::nccl
