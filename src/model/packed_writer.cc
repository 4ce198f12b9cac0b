#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "model/packed_format.h"

namespace inferd::model {
namespace {

uint64_t RoundUpTo(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

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

}  // namespace

uint64_t PackedWriter::Place(const Buffer& buffer) {
  if (buffer.size() == 0) return 0;
  const uint64_t begin = RoundUpTo(end_, kPackedAlignment);
  sources_.push_back({begin, buffer.data(), buffer.size()});
  end_ = begin + buffer.size();
  return begin;
}

void PackedWriter::Add(std::string_view name, PackedRecord record, const Buffer& data,
                       const Buffer& bias) {
  INFERD_CHECK(name.size() < PackedRecord::kNameBytes);
  std::copy(name.begin(), name.end(), record.name);
  record.data_begin = Place(data);
  record.data_bytes = data.size();
  record.bias_begin = Place(bias);
  record.bias_bytes = bias.size();
  records_.push_back(record);
}

void PackedWriter::Add(std::string_view name, const LinearWeight& weight) {
  PackedRecord record;
  record.out_features = weight.out_features;
  record.in_features = weight.in_features;
  record.format = static_cast<int32_t>(weight.format);
  record.group_size = weight.group_size;
  Add(name, record, weight.packed, weight.bias);
}

void PackedWriter::Add(std::string_view name, const VectorWeight& weight) {
  PackedRecord record;
  record.out_features = weight.size;
  Add(name, record, weight.data, Buffer());
}

uint64_t PackedWriter::FileBytes() const {
  const uint64_t data_end = RoundUpTo(end_, kPackedChunkBytes);
  const uint64_t chunks = data_end / kPackedChunkBytes - 1;
  return data_end + chunks * sizeof(uint64_t) + records_.size() * sizeof(PackedRecord);
}

Status PackedWriter::WriteTo(int fd, const Hash128& key, const std::function<bool()>& stop) const {
  const uint64_t file_bytes = FileBytes();
  // A disk without room says so before anything is written.
  if (fallocate(fd, 0, 0, static_cast<off_t>(file_bytes)) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
    return ResourceExhaustedError(std::string("no room: ") + std::strerror(errno));
  }
  const uint64_t data_end = RoundUpTo(end_, kPackedChunkBytes);
  // Whole chunks at a time, aligned: the page cache then keeps them in pages of that
  // size, and maps them so.
  std::vector<std::byte> chunk(kPackedChunkBytes);
  std::vector<uint64_t> hashes;
  if (lseek(fd, static_cast<off_t>(kPackedChunkBytes), SEEK_SET) < 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  auto source = sources_.begin();
  for (uint64_t begin = kPackedChunkBytes; begin < data_end; begin += kPackedChunkBytes) {
    if (stop()) return Status(StatusCode::kCancelled, "stopped");
    const uint64_t end = begin + kPackedChunkBytes;
    std::fill(chunk.begin(), chunk.end(), std::byte{0});
    while (source != sources_.end() && source->begin < end) {
      const uint64_t first = std::max(begin, source->begin);
      const uint64_t last = std::min(end, source->begin + source->bytes);
      std::memcpy(chunk.data() + (first - begin), source->data + (first - source->begin),
                  last - first);
      if (source->begin + source->bytes > end) break;  // goes on in the next chunk
      ++source;
    }
    hashes.push_back(FastHash(chunk, hashes.size()));
    INFERD_RETURN_IF_ERROR(WriteAll(fd, chunk.data(), chunk.size()));
    // On its way to the disk at once: what a later fsync waits for stays small.
    (void)sync_file_range(fd, static_cast<off_t>(begin), static_cast<off_t>(kPackedChunkBytes),
                          SYNC_FILE_RANGE_WRITE);
  }
  std::vector<std::byte> index;
  AppendBytes(hashes, &index);
  AppendBytes(records_, &index);
  INFERD_RETURN_IF_ERROR(WriteAll(fd, index.data(), index.size()));

  PackedHeader header;
  header.file_bytes = file_bytes;
  header.key = key;
  header.index_begin = data_end;
  header.num_chunks = hashes.size();
  header.num_records = records_.size();
  header.index_hash = FastHash(index, kPackedMagic);
  header.header_hash = HeaderHash(header);
  if (lseek(fd, 0, SEEK_SET) < 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  INFERD_RETURN_IF_ERROR(WriteAll(fd, &header, sizeof(header)));
  if (fsync(fd) != 0) {
    return ResourceExhaustedError(std::string("cannot be written: ") + std::strerror(errno));
  }
  return OkStatus();
}

}  // namespace inferd::model
