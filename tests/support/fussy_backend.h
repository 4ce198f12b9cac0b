// A backend that is correct and awkward: blocks of 8 tokens only, another cache
// layout than any real backend's, padding between blocks, no fused op. It guards
// the boundary: what works on it assumes nothing about a backend.
#pragma once

#include <memory>
#include <string>

#include "backends/ref/ref_ops.h"
#include "inferd/backends/backend.h"

namespace inferd {

class FussyOps final : public RefOps {
 public:
  static constexpr int32_t kBlockSize = 8;

  std::string_view name() const override { return "fussy"; }
  bool SplitsEmbedding() const override { return true; }
  int64_t KvBytesPerBlock(const KvLayerSpec& spec) const override {
    INFERD_CHECK(spec.block_size == kBlockSize);
    return RefOps::KvBytesPerBlock(spec) + kPaddingBytes;
  }

 protected:
  // [padding][kv head][dim][token][K, V], with kI8 [kv head][token][K, V] of scales
  KvPlace PlaceInBlock(const KvLayerSpec& spec, bool value, int32_t token,
                       int32_t head) const override {
    const int64_t padding = kPaddingBytes / DTypeSize(spec.dtype);
    const int64_t head_start = int64_t{head} * spec.head_dim * kBlockSize * 2;
    const int64_t scales =
        (kPaddingBytes + int64_t{spec.num_kv_heads} * spec.head_dim * kBlockSize * 2) / 4;
    return {padding + head_start + token * 2 + (value ? 1 : 0), kBlockSize * 2,
            scales + (int64_t{head} * kBlockSize + token) * 2 + (value ? 1 : 0)};
  }

 private:
  static constexpr int64_t kPaddingBytes = 24;
};

class FussyBackend final : public Backend {
 public:
  Ops& ops() override { return ops_; }
  std::string Description() const override { return "fussy: ref with another cache layout"; }
  int64_t TotalMemoryBytes() const override { return int64_t{1} << 30; }
  int64_t AvailableMemoryBytes() const override { return int64_t{1} << 30; }

 private:
  FussyOps ops_;
};

}  // namespace inferd
