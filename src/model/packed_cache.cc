#include "model/packed_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "inferd/base/unique_fd.h"
#include "model/json.h"
#include "spdlog/spdlog.h"

namespace inferd::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".packed";
constexpr size_t kMaxConfigBytes = size_t{1} << 20;
// Whatever the processors: a disk is quickest with several requests at a time, and each reader
// has one or two. In memory two or four would do.
constexpr int kReaders = 8;
constexpr int kMostEntries = 10'000;  // of a directory that are looked at
// Not a secret: nobody gains by two models that share a key.
constexpr HashKey kKey{0x696e66657264, 0x7061636b6564};

Hash128 HashText(std::string_view text) { return SipHash128(kKey, std::as_bytes(std::span(text))); }

std::string Hex(uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016" PRIx64, value);
  return text.data();
}

// Removes the files used longest ago until those of the directory and `bytes` more
// are within the limit. `own` is about to be replaced and does not count.
void MakeRoom(const fs::path& own, int64_t bytes, int64_t limit) {
  struct Entry {
    fs::file_time_type used;
    fs::path path;
    int64_t bytes = 0;
  };
  std::vector<Entry> entries;
  int64_t total = bytes;
  std::error_code error;
  int seen = 0;
  for (fs::directory_iterator it(own.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    if (++seen > kMostEntries) break;
    std::error_code ignored;
    if (it->path().extension() != kExtension || it->path() == own ||
        !it->is_regular_file(ignored) || it->is_symlink(ignored)) {
      continue;
    }
    Entry entry{it->last_write_time(ignored), it->path(), static_cast<int64_t>(0)};
    entry.bytes = static_cast<int64_t>(it->file_size(ignored));
    total += std::max<int64_t>(0, entry.bytes);
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= limit) return;
    std::error_code ignored;
    if (fs::remove(entry.path, ignored)) total -= entry.bytes;
  }
}

// Makes a rename durable; where that is not possible, the next start packs again.
void SyncDirectory(const fs::path& directory) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)fsync(fd.get());
}

Status SystemError(std::string_view what) {
  return ResourceExhaustedError(std::string(what) + ": " + std::strerror(errno));
}

// Puts what `write` writes to an empty file at `path`, all of it or nothing.
Status Replace(const fs::path& path, const std::function<Status(int fd)>& write) {
  const fs::path directory = path.parent_path();
  std::error_code error;
  fs::create_directory(directory, error);  // its parent is the operator's
  const fs::path temporary = path.string() + ".tmp";
  const UniqueFd fd(
      open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) return SystemError("cannot be created");
  // Whoever holds the lock writes. If it was renamed before we got it, it is the file
  // that others use by now.
  struct stat ours {};
  struct stat named {};
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || fstat(fd.get(), &ours) != 0 ||
      stat(temporary.c_str(), &named) != 0 || ours.st_ino != named.st_ino ||
      !S_ISREG(ours.st_mode)) {
    return FailedPreconditionError("another process writes it");
  }
  if (ours.st_uid != geteuid() || ftruncate(fd.get(), 0) != 0) {
    return FailedPreconditionError("the temporary file is not ours");
  }
  Status status = write(fd.get());
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = SystemError("cannot be renamed");
  }
  if (!status.ok()) unlink(temporary.c_str());
  if (status.ok()) SyncDirectory(directory);
  return status;
}

}  // namespace

PackedSaver::PackedSaver(PackedWriter writer, Hash128 key, fs::path path,
                         PackedCacheOptions options)
    : writer_(std::move(writer)),
      key_(key),
      path_(std::move(path)),
      options_(std::move(options)),
      thread_([this] { Run(); }) {}

PackedSaver::~PackedSaver() {
  stop_ = true;
  Wait();
}

void PackedSaver::Wait() {
  if (thread_.joinable()) thread_.join();
}

void PackedSaver::Run() {
  const auto begin = std::chrono::steady_clock::now();
  const Status status = Write();
  if (options_.logger == nullptr) return;
  if (status.ok()) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begin);
    options_.logger->info("packed weights: kept in {} ({} MiB, {} ms)", path_.string(),
                          writer_.FileBytes() >> 20, ms.count());
  } else if (status.code() == StatusCode::kCancelled) {
    options_.logger->info("packed weights: not kept, the daemon stops first");
  } else {
    options_.logger->warn("packed weights: not kept in {}: {}", path_.string(), status.message());
  }
}

Status PackedSaver::Write() {
  MakeRoom(path_, static_cast<int64_t>(writer_.FileBytes()), options_.max_bytes);
  return Replace(
      path_, [this](int fd) { return writer_.WriteTo(fd, key_, [this] { return stop_.load(); }); });
}

// The files' names, sizes, times and headers, and a sample of every tensor: tools
// that give all files one time, and checkpoints trained further, which have equal
// sizes and headers, differ there at least.
StatusOr<PackedCache> PackedCache::Create(const PackedCacheOptions& options,
                                          const Checkpoint& checkpoint, std::string_view layout) {
  INFERD_ASSIGN_OR_RETURN(const std::string config,
                          ReadSmallFile(checkpoint.directory() / "config.json", kMaxConfigBytes));
  std::error_code error;
  const fs::path canonical = fs::canonical(checkpoint.directory(), error);
  if (error) return FailedPreconditionError("the model directory has no path");
  const Hash128 content = checkpoint.Identity();
  const std::string key =
      std::string(layout) + '\n' + Hex(content.hi) + Hex(content.lo) + '\n' + config;
  const std::string place = std::string(layout) + '\n' + canonical.string();
  return PackedCache(options, HashText(key),
                     options.directory / (Hex(HashText(place).lo) + std::string(kExtension)));
}

PackedFile PackedCache::Open() const {
  const auto begin = std::chrono::steady_clock::now();
  StatusOr<PackedFile> file = PackedFile::Open(path_, key_, kReaders);
  if (!file.ok()) {
    if (file.status().code() != StatusCode::kNotFound) Reject(file.status());
    return {};
  }
  // Used now: the last to go when room is made.
  (void)utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
  if (options_.logger != nullptr) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begin);
    options_.logger->info("packed weights: {} ({} MiB) mapped and checked in {} ms", path_.string(),
                          file->bytes() >> 20, ms.count());
  }
  return std::move(*file);
}

void PackedCache::Reject(const Status& why) const {
  if (options_.logger == nullptr) return;
  options_.logger->warn("packed weights: {} is not used: it {}", path_.string(), why.message());
}

Status PackedCache::Keep(int64_t bytes, const std::function<Status(PackedAppender&)>& write) const {
  std::error_code error;
  fs::create_directory(path_.parent_path(), error);
  MakeRoom(path_, bytes, options_.max_bytes);
  return Replace(path_, [&](int fd) {
    PackedAppender appender(fd, [] { return false; });
    INFERD_RETURN_IF_ERROR(write(appender));
    return appender.Finish(key_);
  });
}

std::unique_ptr<PackedSaver> PackedCache::Save(PackedWriter writer) const {
  const auto bytes = static_cast<int64_t>(writer.FileBytes());
  if (bytes > options_.max_bytes) {
    if (options_.logger != nullptr) {
      options_.logger->warn("packed weights: not kept: {} MiB, the limit is {} MiB", bytes >> 20,
                            options_.max_bytes >> 20);
    }
    return nullptr;
  }
  try {
    return std::make_unique<PackedSaver>(std::move(writer), key_, path_, options_);
  } catch (const std::system_error&) {
    if (options_.logger != nullptr) options_.logger->warn("packed weights: not kept: no thread");
    return nullptr;
  }
}

}  // namespace inferd::model
