#include "model/packed_appender.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "model/packed_format.h"

namespace inferd::model {
namespace {

Status WriteAll(int fd, const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t done = write(fd, from, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
    }
    from += done;
    bytes -= static_cast<size_t>(done);
  }
  return OkStatus();
}

template <class T>
void AppendBytes(const std::vector<T>& values, std::vector<std::byte>* to) {
  const size_t old = to->size();
  to->resize(old + values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(to->data() + old, values.data(), values.size() * sizeof(T));
}

PackedRecord Named(std::string_view name) {
  INFERD_CHECK(name.size() < PackedRecord::kNameBytes);
  PackedRecord record;
  std::copy(name.begin(), name.end(), record.name);
  return record;
}

}  // namespace

PackedRecord RecordOf(std::string_view name, const LinearWeight& weight) {
  PackedRecord record = Named(name);
  record.out_features = weight.out_features;
  record.in_features = weight.in_features;
  record.format = static_cast<int32_t>(weight.format);
  record.group_size = weight.group_size;
  return record;
}

PackedRecord RecordOf(std::string_view name, const VectorWeight& weight) {
  PackedRecord record = Named(name);
  record.out_features = weight.size;
  return record;
}

PackedAppender::PackedAppender(int fd, std::function<bool()> stop)
    : fd_(fd), stop_(std::move(stop)), chunk_(kPackedChunkBytes), chunk_begin_(kPackedChunkBytes) {}

Status PackedAppender::Add(PackedRecord record, const Buffer& data, const Buffer& bias) {
  INFERD_ASSIGN_OR_RETURN(record.data_begin, Place(data));
  record.data_bytes = data.size();
  INFERD_ASSIGN_OR_RETURN(record.bias_begin, Place(bias));
  record.bias_bytes = bias.size();
  records_.push_back(record);
  return OkStatus();
}

StatusOr<uint64_t> PackedAppender::Place(const Buffer& buffer) {
  if (buffer.size() == 0) return uint64_t{0};
  // Chunks are whole alignments, so this stays within one.
  used_ = (used_ + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment;
  if (used_ == kPackedChunkBytes) INFERD_RETURN_IF_ERROR(Flush());
  const uint64_t begin = chunk_begin_ + used_;
  INFERD_RETURN_IF_ERROR(Put(buffer.data(), buffer.size()));
  return begin;
}

Status PackedAppender::Put(const std::byte* data, uint64_t bytes) {
  while (bytes > 0) {
    if (used_ == kPackedChunkBytes) INFERD_RETURN_IF_ERROR(Flush());
    const uint64_t part = std::min(bytes, kPackedChunkBytes - used_);
    std::memcpy(chunk_.data() + used_, data, part);
    used_ += part;
    data += part;
    bytes -= part;
  }
  return OkStatus();
}

// Whole chunks at a time, aligned: the page cache then keeps them in pages of that size,
// and maps them so.
Status PackedAppender::Flush() {
  if (stop_()) return Status(StatusCode::kCancelled, "stopped");
  if (hashes_.empty() && lseek(fd_, static_cast<off_t>(chunk_begin_), SEEK_SET) < 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  hashes_.push_back(FastHash(chunk_, hashes_.size()));
  INFERD_RETURN_IF_ERROR(WriteAll(fd_, chunk_.data(), chunk_.size()));
  // On its way to the disk at once: what a later fsync waits for stays small.
  (void)sync_file_range(fd_, static_cast<off_t>(chunk_begin_),
                        static_cast<off_t>(kPackedChunkBytes), SYNC_FILE_RANGE_WRITE);
  std::fill(chunk_.begin(), chunk_.end(), std::byte{0});
  chunk_begin_ += kPackedChunkBytes;
  used_ = 0;
  return OkStatus();
}

Status PackedAppender::Finish(const Hash128& key) {
  if (used_ > 0) INFERD_RETURN_IF_ERROR(Flush());
  std::vector<std::byte> index;
  AppendBytes(hashes_, &index);
  AppendBytes(records_, &index);
  if (hashes_.empty() && lseek(fd_, static_cast<off_t>(chunk_begin_), SEEK_SET) < 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  INFERD_RETURN_IF_ERROR(WriteAll(fd_, index.data(), index.size()));

  PackedHeader header;
  header.file_bytes = chunk_begin_ + index.size();
  header.key = key;
  header.index_begin = chunk_begin_;
  header.num_chunks = hashes_.size();
  header.num_records = records_.size();
  header.index_hash = FastHash(index, kPackedMagic);
  header.header_hash = HeaderHash(header);
  if (lseek(fd_, 0, SEEK_SET) < 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  INFERD_RETURN_IF_ERROR(WriteAll(fd_, &header, sizeof(header)));
  if (fsync(fd_) != 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  return OkStatus();
}

}  // namespace inferd::model
