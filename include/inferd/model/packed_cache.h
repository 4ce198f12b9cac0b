#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "spdlog/logger.h"

namespace inferd {

// Where the packed form of the weights is kept from one start to the next. A file
// there is read as the checkpoint is: who may write to the directory decides what
// the model says.
struct PackedCacheOptions {
  std::filesystem::path directory;         // empty: weights are packed at every start
  int64_t max_bytes = 0;                   // of all files in it together
  std::shared_ptr<spdlog::logger> logger;  // may be null
  // Layers stay in the file, are read ahead of their use and given back after it. Needs
  // the directory.
  bool stream = false;
};

}  // namespace inferd
