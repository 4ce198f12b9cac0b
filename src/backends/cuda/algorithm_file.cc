#include "backends/cuda/algorithm_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <fstream>
#include <sstream>
#include <system_error>

#include "inferd/base/unique_fd.h"

namespace inferd {
namespace {

namespace fs = std::filesystem;

// Of kMaxShapes lines; a longer file is none of ours.
constexpr off_t kMaxBytes = 1 << 20;

std::string FileName(const std::string& gpu, const std::string& version) {
  std::string name = "cublaslt-";
  for (const char c : gpu + "-" + version) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  }
  return name + ".txt";
}

// Empty: there is none, or none of ours; others' words are not handed to the library.
std::string Content(const fs::path& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return "";
  struct stat facts = {};
  const bool ours = fstat(fd.get(), &facts) == 0 && S_ISREG(facts.st_mode) &&
                    (facts.st_uid == geteuid() || facts.st_uid == 0) &&
                    (facts.st_mode & S_IWOTH) == 0 && facts.st_size <= kMaxBytes;
  std::string content;
  std::array<char, 4096> piece;
  ssize_t got = ours ? read(fd.get(), piece.data(), piece.size()) : 0;
  while (got > 0 && content.size() <= static_cast<size_t>(kMaxBytes)) {
    content.append(piece.data(), static_cast<size_t>(got));
    got = read(fd.get(), piece.data(), piece.size());
  }
  return got == 0 ? content : "";
}

}  // namespace

AlgorithmFile::AlgorithmFile(const fs::path& directory, const std::string& gpu,
                             const std::string& library_version) {
  if (directory.empty()) return;
  path_ = directory / FileName(gpu, library_version);
  title_ = "inferd algorithms 1, cuBLASLt " + library_version + ", " + gpu;
  Read();
}

void AlgorithmFile::Read() {
  std::istringstream file(Content(path_));
  std::string line;
  if (!std::getline(file, line) || line != title_) return;
  while (shapes_.size() < kMaxShapes && std::getline(file, line)) {
    std::istringstream words(line);
    int32_t kind = 0;
    int32_t rows = 0;
    int32_t outputs = 0;
    int32_t row_bytes = 0;
    TunedAlgorithm algorithm;
    words >> kind >> rows >> outputs >> row_bytes >> algorithm.workspace_bytes >> std::hex;
    for (uint64_t& word : algorithm.words) words >> word;
    if (!words) continue;
    shapes_[{kind, rows, outputs, row_bytes}] = algorithm;
  }
}

const TunedAlgorithm* AlgorithmFile::Find(const Shape& shape) const {
  const auto found = shapes_.find(shape);
  return found == shapes_.end() ? nullptr : &found->second;
}

void AlgorithmFile::Add(const Shape& shape, const TunedAlgorithm& algorithm) {
  if (shapes_.size() >= kMaxShapes && !shapes_.contains(shape)) return;
  shapes_[shape] = algorithm;
  changed_ = true;
}

void AlgorithmFile::Write() {
  if (!enabled() || !changed_) return;
  changed_ = false;
  std::error_code error;
  fs::create_directories(path_.parent_path(), error);
  const fs::path draft = path_.string() + "." + std::to_string(getpid());
  bool written = false;
  {
    std::ofstream file(draft);
    file << title_ << "\n";
    for (const auto& [shape, algorithm] : shapes_) {
      const auto& [kind, rows, outputs, row_bytes] = shape;
      file << std::dec << kind << ' ' << rows << ' ' << outputs << ' ' << row_bytes << ' '
           << algorithm.workspace_bytes << std::hex;
      for (const uint64_t word : algorithm.words) file << ' ' << word;
      file << "\n";
    }
    file.flush();
    written = file.good();
  }
  if (written) fs::rename(draft, path_, error);
  if (!written || error) fs::remove(draft, error);
}

}  // namespace inferd
