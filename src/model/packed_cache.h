#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "inferd/base/hash.h"
#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/model/packed_cache.h"
#include "model/packed_appender.h"
#include "model/packed_file.h"

namespace inferd::model {

// Writes a file of packed weights on a thread of its own, while they are in use.
// Destruction stops it and waits; the weights outlive it.
class PackedSaver {
 public:
  PackedSaver(PackedWriter writer, Hash128 key, std::filesystem::path path,
              PackedCacheOptions options);
  ~PackedSaver();
  PackedSaver(const PackedSaver&) = delete;
  PackedSaver& operator=(const PackedSaver&) = delete;

  // Waits until the file is there or has failed.
  void Wait();

 private:
  void Run();
  Status Write();

  const PackedWriter writer_;
  const Hash128 key_;
  const std::filesystem::path path_;
  const PackedCacheOptions options_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// One model's place in the directory: one file per model directory and layout. No
// fault of the directory keeps a model from being loaded; each gives one line in the
// log. The loading thread.
class PackedCache {
 public:
  // `layout` is the backend's name for its packed form. FAILED_PRECONDITION when the
  // checkpoint's files cannot be read.
  static StatusOr<PackedCache> Create(const PackedCacheOptions& options,
                                      const Checkpoint& checkpoint, std::string_view layout);

  // The kept weights; a file that is not open when there are none that can be used.
  PackedFile Open() const;
  // Says why an open file was not used after all.
  void Reject(const Status& why) const;
  // Keeps what `write` adds, about `bytes` of it, and returns when it is in place.
  Status Keep(int64_t bytes, const std::function<Status(PackedAppender&)>& write) const;
  // Begins to keep them. Null when there is no room for them or no thread.
  std::unique_ptr<PackedSaver> Save(PackedWriter writer) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  PackedCache(const PackedCacheOptions& options, const Hash128& key, std::filesystem::path path)
      : options_(options), key_(key), path_(std::move(path)) {}

  PackedCacheOptions options_;
  Hash128 key_;
  std::filesystem::path path_;
};

}  // namespace inferd::model
