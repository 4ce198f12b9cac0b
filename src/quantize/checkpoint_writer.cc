#include "quantize/checkpoint_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "nlohmann/json.hpp"

namespace inferd::quantize {
namespace {

Status Failed(const std::string& name, const char* what, int error) {
  return ResourceExhaustedError(name + ": cannot be " + what + ": " + std::strerror(error));
}

StatusOr<int> CreateFile(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return Failed(path.filename().string(), "created", errno);
  return fd;
}

Status WriteAt(int fd, const std::string& name, const char* data, size_t size, int64_t offset) {
  while (size > 0) {
    const ssize_t done = pwrite(fd, data, size, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return Failed(name, "written", done < 0 ? errno : ENOSPC);
    data += done;
    size -= static_cast<size_t>(done);
    offset += done;
  }
  return OkStatus();
}

Status SyncAndClose(int fd, const std::string& name) {
  const int synced = fsync(fd) == 0 ? 0 : errno;
  const int closed = close(fd) == 0 ? 0 : errno;
  if (synced != 0) return Failed(name, "written", synced);
  if (closed != 0) return Failed(name, "written", closed);
  return OkStatus();
}

// Which tensors each file holds, in order.
std::vector<std::vector<size_t>> Divide(std::span<const TensorSpec> tensors, int64_t most) {
  std::vector<std::vector<size_t>> shards(1);
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!shards.back().empty() && bytes + tensors[i].Bytes() > most) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(i);
    bytes += tensors[i].Bytes();
  }
  return shards;
}

std::string ShardName(size_t shard, size_t count) {
  if (count == 1) return "model.safetensors";
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", shard + 1, count);
  return name.data();
}

}  // namespace

int64_t TensorSpec::Bytes() const {
  int64_t bytes = element_bytes;
  for (const int64_t dim : shape) bytes *= dim;
  return bytes;
}

CheckpointWriter::CheckpointWriter(CheckpointWriter&& other) noexcept
    : shards_(std::exchange(other.shards_, {})), places_(std::move(other.places_)) {}

CheckpointWriter::~CheckpointWriter() {
  for (const Shard& shard : shards_) {
    if (shard.fd >= 0) close(shard.fd);
  }
}

StatusOr<CheckpointWriter> CheckpointWriter::Create(const std::filesystem::path& dir,
                                                    std::vector<TensorSpec> tensors,
                                                    int64_t max_shard_bytes) {
  CheckpointWriter writer;
  INFERD_RETURN_IF_ERROR(writer.Open(dir, tensors, Divide(tensors, max_shard_bytes)));
  if (writer.shards_.size() > 1) INFERD_RETURN_IF_ERROR(writer.WriteIndex(dir));
  return writer;
}

Status CheckpointWriter::Open(const std::filesystem::path& dir, std::span<const TensorSpec> tensors,
                              std::span<const std::vector<size_t>> shards) {
  for (size_t s = 0; s < shards.size(); ++s) {
    // Widest elements first: every tensor is then aligned to its own.
    std::vector<size_t> order = shards[s];
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return tensors[a].element_bytes > tensors[b].element_bytes;
    });
    nlohmann::ordered_json header;
    header["__metadata__"] = {{"format", "pt"}};
    int64_t at = 0;
    for (const size_t i : order) {
      const TensorSpec& tensor = tensors[i];
      const int64_t end = at + tensor.Bytes();
      header[tensor.name] = {
          {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
      const bool fresh = places_.emplace(tensor.name, Place{s, at, tensor.Bytes(), false}).second;
      INFERD_CHECK(fresh);
      at = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::string length(8, '\0');
    for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
    text.insert(0, length);
    for (const size_t i : order) {
      places_[tensors[i].name].begin += static_cast<int64_t>(text.size());
    }
    Shard& shard = shards_.emplace_back();
    shard.name = ShardName(s, shards.size());
    INFERD_ASSIGN_OR_RETURN(shard.fd, CreateFile(dir / shard.name));
    INFERD_RETURN_IF_ERROR(WriteAt(shard.fd, shard.name, text.data(), text.size(), 0));
  }
  return OkStatus();
}

Status CheckpointWriter::WriteIndex(const std::filesystem::path& dir) const {
  nlohmann::ordered_json index;
  int64_t total = 0;
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (const auto& [name, place] : places_) {
    total += place.bytes;
    map[name] = shards_[place.shard].name;
  }
  index["metadata"] = {{"total_size", total}};
  index["weight_map"] = std::move(map);
  return WriteFile(dir / "model.safetensors.index.json", index.dump(2) + "\n");
}

Status CheckpointWriter::Write(const std::string& name, std::span<const std::byte> bytes) {
  const auto it = places_.find(name);
  INFERD_CHECK(it != places_.end() && !it->second.written);
  Place& place = it->second;
  INFERD_CHECK(place.bytes == static_cast<int64_t>(bytes.size()));
  place.written = true;
  const Shard& shard = shards_[place.shard];
  return WriteAt(shard.fd, shard.name, reinterpret_cast<const char*>(bytes.data()), bytes.size(),
                 place.begin);
}

Status CheckpointWriter::Finish() {
  for (const auto& [name, place] : places_) INFERD_CHECK(place.written);
  for (Shard& shard : shards_) {
    INFERD_RETURN_IF_ERROR(SyncAndClose(std::exchange(shard.fd, -1), shard.name));
  }
  return OkStatus();
}

Status WriteFile(const std::filesystem::path& path, std::string_view text) {
  const std::string name = path.filename().string();
  INFERD_ASSIGN_OR_RETURN(const int fd, CreateFile(path));
  Status status = WriteAt(fd, name, text.data(), text.size(), 0);
  Status closed = SyncAndClose(fd, name);
  return status.ok() ? closed : status;
}

}  // namespace inferd::quantize
