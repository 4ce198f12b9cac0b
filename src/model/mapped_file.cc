#include "model/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include "model/json.h"

namespace inferd::model {

StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  INFERD_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegularFile(path));
  MappedFile mapped;
  if (file.bytes > 0) {
    void* data = mmap(nullptr, file.bytes, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (data == MAP_FAILED) {
      return ResourceExhaustedError(path.filename().string() +
                                    ": cannot be mapped: " + std::strerror(errno));
    }
    mapped.data_ = static_cast<const std::byte*>(data);
    mapped.size_ = file.bytes;
    mapped.changed_ns_ = file.changed_ns;
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

bool MappedFile::Contains(const void* pointer) const {
  const auto* p = static_cast<const std::byte*>(pointer);
  return data_ != nullptr && !std::less<>()(p, data_) && std::less<>()(p, data_ + size_);
}

void MappedFile::ReadRandomly(bool randomly) const {
  if (data_ == nullptr) return;
  (void)madvise(const_cast<std::byte*>(data_), size_, randomly ? MADV_RANDOM : MADV_NORMAL);
}

void MappedFile::ReleasePages() const {
  if (data_ != nullptr) (void)madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

}  // namespace inferd::model
