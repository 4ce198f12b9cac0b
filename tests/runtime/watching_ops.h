// Sees which pages of a checkpoint's mapping are in memory while it is loaded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "runtime/tap_ops.h"

namespace inferd::testing {

// Resident bytes of this process's mappings of safetensors files.
inline int64_t ResidentBytesOfMappings() {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool ours = false;
  int64_t bytes = 0;
  while (std::getline(maps, line)) {
    // The first line of a mapping begins with its addresses, the others with a name.
    if (line.find('-') < line.find(' ')) ours = line.find(".safetensors") != std::string::npos;
    long long kilobytes = 0;  // NOLINT: as scanf has it
    if (ours && std::sscanf(line.c_str(), "Rss: %lld kB", &kilobytes) == 1) {
      bytes += kilobytes * 1024;
    }
  }
  return bytes;
}

// Looks at the mappings after everything that weights go through.
class WatchingOps final : public TapOps {
 public:
  using TapOps::TapOps;
  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override {
    return Watched(TapOps::Pack(parts, bias));
  }
  StatusOr<VectorWeight> PackVector(const TensorView& host) override {
    return Watched(TapOps::PackVector(host));
  }
  StatusOr<EmbeddingTable> PackEmbedding(const TensorView& host) override {
    return Watched(TapOps::PackEmbedding(host));
  }
  int calls() const { return calls_; }
  int64_t most_resident_bytes() const { return most_resident_bytes_; }

 private:
  template <typename T>
  T Watched(T result) {
    ++calls_;
    most_resident_bytes_ = std::max(most_resident_bytes_, ResidentBytesOfMappings());
    return result;
  }
  int calls_ = 0;
  int64_t most_resident_bytes_ = 0;
};

}  // namespace inferd::testing
