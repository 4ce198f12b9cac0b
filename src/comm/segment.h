// Anonymous memory that processes share, and who of them lives.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd {

// One mapping of a segment. Shared by the threads of a group, or one per process.
class SegmentMapping {
 public:
  // Takes what mmap gave.
  SegmentMapping(void* base, size_t bytes) : base_(static_cast<std::byte*>(base)), bytes_(bytes) {}
  SegmentMapping(const SegmentMapping&) = delete;
  SegmentMapping& operator=(const SegmentMapping&) = delete;
  ~SegmentMapping();
  std::byte* base() const { return base_; }

 private:
  std::byte* const base_;
  const size_t bytes_;
};

// A new segment of zeros, whose size is sealed, so that nobody can take the memory away
// under the others. `name` shows up in /proc.
StatusOr<UniqueFd> NewSegment(const char* name, size_t bytes);
// Opens such a segment of exactly `bytes` again, with a file description of its own.
// FAILED_PRECONDITION when `fd` is none.
StatusOr<UniqueFd> ReopenSegment(int fd, size_t bytes);
StatusOr<std::shared_ptr<const SegmentMapping>> MapSegment(const UniqueFd& fd, size_t bytes);

// Member m holds a lock on byte m of a segment for as long as its process lives; the
// kernel takes it away whatever the end. The lock belongs to an open file description,
// so each process opens the segment again first. Any thread.
class Presence {
 public:
  explicit Presence(UniqueFd fd) : fd_(std::move(fd)) {}

  // ALREADY_EXISTS when another process holds it. `name`: what to call the member.
  Status Take(int member, const std::string& name);
  bool IsAlive(int member) const;

 private:
  UniqueFd fd_;
};

}  // namespace inferd
