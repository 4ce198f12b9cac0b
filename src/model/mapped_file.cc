#include "model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "model/json.h"

namespace inferd::model {

StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  INFERD_ASSIGN_OR_RETURN(OpenedFile file, OpenRegularFile(path));
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
  mapped.fd_ = std::move(file.fd);
  return mapped;
}

Status MappedFile::Read(void* to, const void* from, size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(from);
  INFERD_CHECK(begin >= data_ && begin + bytes <= data_ + size_);
  if (!fd_) {
    std::memcpy(to, from, bytes);
    return OkStatus();
  }
  size_t done = 0;
  while (done < bytes) {
    const auto at = static_cast<off_t>(begin - data_) + static_cast<off_t>(done);
    const ssize_t got = pread(fd_.get(), static_cast<std::byte*>(to) + done, bytes - done, at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return UnavailableError(std::string("the checkpoint cannot be read: ") +
                              (got < 0 ? std::strerror(errno) : "a file has become shorter"));
    }
    done += static_cast<size_t>(got);
  }
  return OkStatus();
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
  if (fd_) {
    (void)posix_fadvise(fd_.get(), 0, 0, randomly ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
  }
}

void MappedFile::ReleasePages() const {
  if (data_ != nullptr) (void)madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

}  // namespace inferd::model
