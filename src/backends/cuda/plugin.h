// What the shared library of the device backend and the program agree on. The
// library is opened at run time, so that a program without it needs nothing of
// the device's own software.
#pragma once

#include <cstdint>
#include <memory>

#include "inferd/backends/backend.h"

namespace inferd {

// Counts changes of this file.
inline constexpr uint32_t kPluginAbi = 1;

// What the library exports, through one C function of the name below. Both sides
// are C++ of one build: `contract` is a hash of the headers whose types cross the
// boundary, and a library with another hash is refused.
struct BackendPlugin {
  uint32_t abi = kPluginAbi;
  const char* contract = nullptr;
  // No exception leaves it.
  Status (*create)(const BackendOptions& options, std::unique_ptr<Backend>* backend) = nullptr;
};

using PluginFunction = const BackendPlugin* (*)();
inline constexpr char kPluginSymbol[] = "inferd_cuda_plugin";

}  // namespace inferd
