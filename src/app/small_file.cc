#include "app/small_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace inferd::app {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

}  // namespace

StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::string text;
  if (path.empty()) return text;
  std::ifstream file(path, std::ios::binary);
  if (!file) return InvalidArgumentError(path + ": cannot be read: " + std::strerror(errno));
  text.resize(kMaxFileBytes);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (!file.eof() || text.empty()) return InvalidArgumentError(path + ": cannot be read");
  return text;
}

}  // namespace inferd::app
