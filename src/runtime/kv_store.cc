#include "runtime/kv_store.h"

#include <array>

namespace inferd::runtime {

StatusOr<KvStore> KvStore::Create(const KvLayerSpec& spec, int32_t num_layers, int32_t num_blocks,
                                  Ops& ops) {
  KvStore store;
  store.ops_ = &ops;
  store.block_bytes_ = static_cast<size_t>(ops.KvBytesPerBlock(spec));
  store.seen_.resize(static_cast<size_t>(num_blocks), false);
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    INFERD_ASSIGN_OR_RETURN(
        Buffer buffer,
        Buffer::Create(ops.allocator(), store.block_bytes_ * static_cast<size_t>(num_blocks)));
    store.views_.push_back({buffer.data(), num_blocks, spec});
    store.buffers_.push_back(std::move(buffer));
  }
  if (ops.MemoryIsResident()) {
    for (const Buffer& buffer : store.buffers_) ops.Fill(buffer.data(), 0, buffer.size());
    store.seen_.assign(store.seen_.size(), true);
  }
  store.Touch(std::array{kPaddingBlock});
  return store;
}

void KvStore::Touch(std::span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    const auto index = static_cast<size_t>(block);
    if (seen_[index]) continue;
    seen_[index] = true;
    for (const Buffer& buffer : buffers_) {
      ops_->Fill(buffer.data() + index * block_bytes_, 0, block_bytes_);
    }
  }
}

}  // namespace inferd::runtime
