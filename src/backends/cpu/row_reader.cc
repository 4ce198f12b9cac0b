#include "backends/cpu/row_reader.h"

#include <algorithm>
#include <utility>

#include "backends/host/host_weights.h"

namespace inferd {

StatusOr<RowReader> RowReader::Create(std::span<const RawLinear> parts, int64_t most, int threads,
                                      const FileBytes* files, Allocator& allocator) {
  const TensorView& data = parts[0].data;
  RowReader reader(parts, data.dim(1) * DTypeSize(data.dtype), files);
  reader.threads_.resize(static_cast<size_t>(threads));
  if (files == nullptr) return reader;
  for (Thread& thread : reader.threads_) {
    INFERD_ASSIGN_OR_RETURN(
        thread.memory, Buffer::Create(allocator, static_cast<size_t>(most * reader.row_bytes_)));
  }
  return reader;
}

void RowReader::Read(int thread, int64_t first, int64_t count, const void** rows) {
  Thread& own = threads_[static_cast<size_t>(thread)];
  for (int64_t done = 0; done < count;) {
    // As many as lie below each other.
    const PlacedRow placed = FindRow(parts_, first + done);
    const int64_t run = std::min(count - done, placed.part.data.dim(0) - placed.row);
    const std::byte* from = placed.part.data.As<std::byte>() + placed.row * row_bytes_;
    if (files_ != nullptr) {
      std::byte* to = own.memory.data() + done * row_bytes_;
      Status read = files_->Read(to, from, static_cast<size_t>(run * row_bytes_));
      if (!read.ok() && own.status.ok()) own.status = std::move(read);
      from = to;
    }
    for (int64_t j = 0; j < run; ++j) rows[done + j] = from + j * row_bytes_;
    done += run;
  }
}

Status RowReader::status() const {
  for (const Thread& thread : threads_) INFERD_RETURN_IF_ERROR(thread.status);
  return OkStatus();
}

}  // namespace inferd
