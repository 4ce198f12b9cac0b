#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/ops/file_bytes.h"
#include "inferd/ops/weights.h"
#include "inferd/tensor/tensor.h"

namespace inferd {

// Rows of a joined matrix on their way into its packed form: read from the files they are
// mapped from, a panel at a time and into a thread's own memory, so that the mapping is not
// touched and all that a load holds twice is a panel. One object per matrix.
class RowReader {
 public:
  // The data of `parts`, `most` rows at a time, by threads [0, threads). Without `files`
  // rows are taken from where they are. All of it outlives the reader.
  static StatusOr<RowReader> Create(std::span<const RawLinear> parts, int64_t most, int threads,
                                    const FileBytes* files, Allocator& allocator);

  // Where rows [first, first + count) of the joined matrix begin, `count` at most `most`:
  // memory that stays as it is until the thread's next call. What cannot be read holds
  // anything, and status() says so. The thread `thread`.
  void Read(int thread, int64_t first, int64_t count, const void** rows);

  // The first error of a thread. When all are done.
  Status status() const;

 private:
  struct Thread {
    Buffer memory;
    Status status;
  };

  RowReader(std::span<const RawLinear> parts, int64_t row_bytes, const FileBytes* files)
      : parts_(parts), row_bytes_(row_bytes), files_(files) {}

  std::span<const RawLinear> parts_;
  int64_t row_bytes_;
  const FileBytes* files_;
  std::vector<Thread> threads_;
};

}  // namespace inferd
