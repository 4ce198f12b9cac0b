#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd::model {

// A regular file mapped for reading, and open. Movable; unmapped and closed at the end of its
// life.
class MappedFile {
 public:
  static StatusOr<MappedFile> Open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(changed_ns_, other.changed_ns_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // When it was last written, in nanoseconds.
  int64_t changed_ns() const { return changed_ns_; }
  bool Contains(const void* pointer) const;
  // Copies bytes that lie within bytes() from the file, touching no page of the mapping.
  // UNAVAILABLE when it cannot be read, or has become shorter.
  Status Read(void* to, const void* from, size_t bytes) const;
  // The mapping stays; Read copies from there.
  void Close() { fd_.Reset(); }
  // Whether to fetch only what is touched or read, instead of what surrounds it too.
  void ReadRandomly(bool randomly) const;
  // Gives the pages back to the system; they are read again when touched.
  void ReleasePages() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t changed_ns_ = 0;
  UniqueFd fd_;
};

}  // namespace inferd::model
