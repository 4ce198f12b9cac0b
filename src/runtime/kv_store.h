#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "inferd/ops/ops.h"

namespace inferd::runtime {

// The KV cache of a rank: one buffer per layer. The rank thread. A block is
// zero before its first use; zeroing it only then keeps the pages of blocks
// never used out of resident memory.
class KvStore {
 public:
  static StatusOr<KvStore> Create(const KvLayerSpec& spec, int32_t num_layers, int32_t num_blocks,
                                  Ops& ops);

  // Blocks about to be used; those never seen before are zeroed, in order with the
  // ops.
  void Touch(std::span<const BlockId> blocks);
  // One view per layer.
  std::span<const KvLayerView> layers() const { return views_; }

 private:
  Ops* ops_ = nullptr;  // outlives the store
  size_t block_bytes_ = 0;
  std::vector<Buffer> buffers_;
  std::vector<KvLayerView> views_;
  std::vector<bool> seen_;  // [num_blocks]
};

}  // namespace inferd::runtime
