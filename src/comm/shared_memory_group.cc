#include "inferd/comm/shared_memory_group.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "comm/fabric_communicator.h"
#include "comm/segment_fabric.h"

namespace inferd {
namespace {

Status SystemError(const std::string& what) {
  return InternalError(what + ": " + std::strerror(errno));
}

struct flock ByteOf(int rank, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

// Presence: rank r holds a lock on byte r of the segment for as long as its process
// lives; the kernel takes it away whatever the end. The lock belongs to an open file
// description, so each process opens the segment again, with a description of its own.
class Presence {
 public:
  explicit Presence(SegmentFd fd) : fd_(std::move(fd)) {}

  Status Take(int rank) {
    struct flock lock = ByteOf(rank, F_WRLCK);
    if (fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0) return OkStatus();
    return Status(StatusCode::kAlreadyExists,
                  "rank " + std::to_string(rank) + " is held by another process");
  }

  bool IsAlive(int rank) const {
    struct flock lock = ByteOf(rank, F_WRLCK);
    return fcntl(fd_.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
  }

 private:
  SegmentFd fd_;
};

StatusOr<std::shared_ptr<const SegmentMapping>> Map(int fd, size_t bytes) {
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return SystemError("cannot map the segment");
  return std::make_shared<const SegmentMapping>(base, bytes);
}

}  // namespace

SegmentFd::~SegmentFd() {
  if (fd_ >= 0) close(fd_);
}

StatusOr<SegmentFd> CreateSharedMemorySegment(int world_size, const CommOptions& options) {
  INFERD_RETURN_IF_ERROR(CheckGroup(0, world_size, options));
  const auto chunk = static_cast<size_t>(options.chunk_bytes);
  const size_t bytes = SegmentLayout(nullptr, world_size, chunk).Bytes();
  SegmentFd fd(memfd_create("inferd-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (fd.get() < 0) return SystemError("cannot create a segment");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return SystemError("cannot size the segment");
  }
  // So that no rank can take the memory away under the others.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return SystemError("cannot seal the segment");
  }
  INFERD_ASSIGN_OR_RETURN(const auto mapping, Map(fd.get(), bytes));
  SegmentHead& head = SegmentLayout(mapping->base(), world_size, chunk).Head();
  head.magic = kSegmentMagic;
  head.world_size = static_cast<uint64_t>(world_size);
  head.chunk_bytes = chunk;
  return fd;
}

StatusOr<std::unique_ptr<Communicator>> JoinSharedMemoryGroup(int segment_fd, int rank,
                                                              int world_size,
                                                              const CommOptions& options,
                                                              const Clock& clock) {
  INFERD_RETURN_IF_ERROR(CheckGroup(rank, world_size, options));
  const auto chunk = static_cast<size_t>(options.chunk_bytes);
  const size_t bytes = SegmentLayout(nullptr, world_size, chunk).Bytes();
  struct stat info = {};
  if (fstat(segment_fd, &info) != 0 || static_cast<size_t>(info.st_size) != bytes ||
      (fcntl(segment_fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
    return FailedPreconditionError("the descriptor is not a segment of such a group");
  }
  SegmentFd own(open(("/proc/self/fd/" + std::to_string(segment_fd)).c_str(), O_RDWR | O_CLOEXEC));
  if (own.get() < 0) return SystemError("cannot open the segment");
  INFERD_ASSIGN_OR_RETURN(auto mapping, Map(own.get(), bytes));
  const SegmentHead& head = SegmentLayout(mapping->base(), world_size, chunk).Head();
  if (head.magic != kSegmentMagic || head.world_size != static_cast<uint64_t>(world_size) ||
      head.chunk_bytes != chunk) {
    return FailedPreconditionError("the segment is of a group of another shape");
  }
  auto presence = std::make_shared<Presence>(std::move(own));
  INFERD_RETURN_IF_ERROR(presence->Take(rank));
  auto fabric = std::make_unique<SegmentFabric>(
      std::move(mapping), rank, world_size, chunk,
      [presence](int peer) { return presence->IsAlive(peer); }, clock);
  INFERD_RETURN_IF_ERROR(fabric->Join());
  fabric->SetDeadline(clock.NowUs() + options.timeout_us);
  if (Status status = fabric->AwaitAll(); !status.ok()) {
    fabric->Break(status.code());
    return status;
  }
  return std::unique_ptr<Communicator>(
      std::make_unique<FabricCommunicator>(std::move(fabric), rank, world_size, options, clock));
}

}  // namespace inferd
