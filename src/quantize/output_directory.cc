#include "quantize/output_directory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "inferd/base/unique_fd.h"

namespace inferd::quantize {

namespace fs = std::filesystem;

namespace {

// "out" for "out/" too.
fs::path WithoutSlash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

void SyncDirectory(const fs::path& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)fsync(fd.get());
}

}  // namespace

Status CheckPlace(const fs::path& place) {
  std::error_code error;
  const fs::file_status kind = fs::symlink_status(place, error);
  if (kind.type() == fs::file_type::not_found) return OkStatus();
  if (error) return FailedPreconditionError(place.string() + ": " + error.message());
  if (kind.type() != fs::file_type::directory) {
    return FailedPreconditionError(place.string() + ": exists and is not a directory");
  }
  const bool empty = fs::is_empty(place, error);
  if (error) return FailedPreconditionError(place.string() + ": " + error.message());
  if (!empty) return FailedPreconditionError(place.string() + ": exists and is not empty");
  return OkStatus();
}

StatusOr<OutputDirectory> OutputDirectory::Create(const fs::path& place) {
  OutputDirectory output;
  output.place_ = WithoutSlash(place);
  INFERD_RETURN_IF_ERROR(CheckPlace(output.place_));
  const fs::path parent = output.place_.has_parent_path() ? output.place_.parent_path() : ".";
  std::string partial =
      (parent / ("." + output.place_.filename().string() + ".partial-XXXXXX")).string();
  if (mkdtemp(partial.data()) == nullptr) {
    return FailedPreconditionError(parent.string() +
                                   ": cannot be written to: " + std::strerror(errno));
  }
  output.partial_ = partial;
  return output;
}

OutputDirectory::OutputDirectory(OutputDirectory&& other) noexcept
    : place_(std::move(other.place_)), partial_(std::exchange(other.partial_, {})) {}

OutputDirectory::~OutputDirectory() {
  if (partial_.empty()) return;
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

Status OutputDirectory::Commit() {
  // mkdtemp's 0700 is for temporary files; what is left here is as others are.
  const mode_t mask = umask(0);
  umask(mask);
  (void)chmod(partial_.c_str(), 0777 & ~mask);
  SyncDirectory(partial_);
  if (rename(partial_.c_str(), place_.c_str()) != 0) {
    return FailedPreconditionError(place_.string() +
                                   ": cannot be put in place: " + std::strerror(errno));
  }
  SyncDirectory(place_.has_parent_path() ? place_.parent_path() : ".");
  partial_.clear();
  return OkStatus();
}

}  // namespace inferd::quantize
