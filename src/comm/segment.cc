#include "comm/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace inferd {
namespace {

struct flock ByteOf(int member, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = member;
  lock.l_len = 1;
  return lock;
}

Status SystemError(const std::string& what) {
  return InternalError(what + ": " + std::strerror(errno));
}

}  // namespace

Status Presence::Take(int member, const std::string& name) {
  struct flock lock = ByteOf(member, F_WRLCK);
  if (fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0) return OkStatus();
  return Status(StatusCode::kAlreadyExists, name + " is held by another process");
}

bool Presence::IsAlive(int member) const {
  struct flock lock = ByteOf(member, F_WRLCK);
  return fcntl(fd_.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

SegmentMapping::~SegmentMapping() { munmap(base_, bytes_); }

StatusOr<UniqueFd> ReopenSegment(int fd, size_t bytes) {
  struct stat info = {};
  if (fstat(fd, &info) != 0 || static_cast<size_t>(info.st_size) != bytes ||
      (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
    return FailedPreconditionError("the descriptor is not a segment of this shape");
  }
  UniqueFd own(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
  if (!own) return SystemError("cannot open the segment");
  return own;
}

StatusOr<UniqueFd> NewSegment(const char* name, size_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return SystemError("cannot create a segment");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return SystemError("cannot size the segment");
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return SystemError("cannot seal the segment");
  }
  return fd;
}

StatusOr<std::shared_ptr<const SegmentMapping>> MapSegment(const UniqueFd& fd, size_t bytes) {
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return SystemError("cannot map the segment");
  return std::make_shared<const SegmentMapping>(base, bytes);
}

}  // namespace inferd
