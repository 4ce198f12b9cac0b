#include "text/read_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace inferd::text {

StatusOr<std::string> ReadFile(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory) {
      return FailedPreconditionError(path.string() + ": cannot be read: " + error.message());
    }
    return NotFoundError(path.string() + ": no such file");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return FailedPreconditionError(path.string() + ": cannot be read: " + std::strerror(errno));
  }
  std::string content;
  std::string buffer(1 << 16, '\0');
  while (file.good()) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    content.append(buffer, 0, static_cast<size_t>(file.gcount()));
    if (static_cast<int64_t>(content.size()) > max_bytes) {
      return FailedPreconditionError(path.string() + ": larger than " + std::to_string(max_bytes) +
                                     " bytes");
    }
  }
  if (!file.eof()) return FailedPreconditionError(path.string() + ": cannot be read");
  return content;
}

}  // namespace inferd::text
