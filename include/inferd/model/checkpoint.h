#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/hash.h"
#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// What a checkpoint says about one tensor.
struct TensorFacts {
  std::string_view dtype;  // as the file spells it: "F32", "BF16", …
  std::vector<int64_t> shape;
};

// The tensors of a directory of safetensors files (model.safetensors, or the
// shards that model.safetensors.index.json names), mapped for reading. One
// thread at a time. Opening checks every header fully and reads no weights.
class Checkpoint final : public FileBytes {
 public:
  static StatusOr<Checkpoint> Open(const std::filesystem::path& dir);
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint() override;

  // Names in the order of the alphabet.
  std::vector<std::string_view> Names() const;
  // Null when there is no tensor of that name.
  const TensorFacts* Find(std::string_view name) const;
  // The tensor's bytes in the mapped file; read-only, valid until Unmap and as
  // long as this object. FAILED_PRECONDITION unless its dtype is F32, F16 or
  // BF16, its rank at most TensorView::kMaxRank, and its bytes aligned.
  StatusOr<TensorView> View(std::string_view name) const;
  // The same for I8, I32 and F8_E4M3, which only quantised layers have.
  StatusOr<TensorView> IntegerView(std::string_view name) const;
  // Of all files.
  int64_t TotalBytes() const;
  const std::filesystem::path& directory() const;
  // Tells checkpoints apart without reading them: names, sizes, times of change and
  // headers of the files, and a sample of every tensor.
  Hash128 Identity() const;

  // The bytes of views, or any other memory. Does not touch the mapping, unless there are more
  // than 256 files. While what `from` points to is mapped, by any number of threads.
  Status Read(void* to, const void* from, size_t bytes) const override;

  // Gives the pages read so far back to the system; views stay valid.
  void ReleasePages() const;
  // Unmaps and closes every file but the one `borrowed` points into (null: all of them), of
  // which scattered parts are wanted from now on.
  void UnmapExcept(const void* borrowed);

 private:
  struct Files;
  StatusOr<TensorView> ViewAs(std::string_view name, bool integer) const;
  explicit Checkpoint(std::unique_ptr<Files> files);
  std::unique_ptr<Files> files_;
};

}  // namespace inferd
