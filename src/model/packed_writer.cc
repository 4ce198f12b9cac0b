#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "model/packed_appender.h"
#include "model/packed_format.h"

namespace inferd::model {
namespace {

uint64_t RoundUpTo(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

void PackedWriter::Add(const PackedRecord& record, const Buffer& data, const Buffer& bias) {
  for (const Buffer* part : {&data, &bias}) {
    if (part->size() > 0) end_ = RoundUpTo(end_, kPackedAlignment) + part->size();
  }
  weights_.push_back(
      {record, Buffer::Borrow(data.data(), data.size()), Buffer::Borrow(bias.data(), bias.size())});
}

void PackedWriter::Add(std::string_view name, const LinearWeight& weight) {
  Add(RecordOf(name, weight), weight.packed, weight.bias);
}

void PackedWriter::Add(std::string_view name, const VectorWeight& weight) {
  Add(RecordOf(name, weight), weight.data, Buffer());
}

uint64_t PackedWriter::FileBytes() const {
  const uint64_t data_end = RoundUpTo(end_, kPackedChunkBytes);
  const uint64_t chunks = data_end / kPackedChunkBytes - 1;
  return data_end + chunks * sizeof(uint64_t) + weights_.size() * sizeof(PackedRecord);
}

Status PackedWriter::WriteTo(int fd, const Hash128& key, const std::function<bool()>& stop) const {
  // A disk without room says so before anything is written.
  if (fallocate(fd, 0, 0, static_cast<off_t>(FileBytes())) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
    return ResourceExhaustedError(std::string("no room: ") + std::strerror(errno));
  }
  PackedAppender appender(fd, stop);
  for (const Noted& weight : weights_) {
    INFERD_RETURN_IF_ERROR(appender.Add(weight.record, weight.data, weight.bias));
  }
  return appender.Finish(key);
}

}  // namespace inferd::model
