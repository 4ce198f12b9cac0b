#include "inferd/model/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "model/json.h"
#include "model/mapped_file.h"
#include "model/safetensors.h"

namespace inferd {

namespace fs = std::filesystem;

struct Checkpoint::Files {
  struct Place {
    size_t file = 0;
    uint64_t begin = 0;  // bytes from the start of the file
    uint64_t end = 0;
    std::string dtype;
    TensorFacts facts;
  };
  fs::path directory;
  std::vector<std::string> names;  // of the files
  std::vector<model::MappedFile> mapped;
  std::map<std::string, Place, std::less<>> tensors;
  int64_t total_bytes = 0;
};

namespace {

constexpr size_t kMaxIndexBytes = size_t{16} << 20;
constexpr size_t kMaxShards = 4096;
// Of more files none stays open: descriptors are few.
constexpr size_t kMaxOpen = 256;
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// tensor name -> file name, as the index has it.
using WeightMap = std::map<std::string, std::string, std::less<>>;

StatusOr<WeightMap> ReadIndex(const fs::path& dir) {
  INFERD_ASSIGN_OR_RETURN(const std::string text,
                          model::ReadSmallFile(dir / kIndex, kMaxIndexBytes));
  INFERD_ASSIGN_OR_RETURN(const nlohmann::json root, model::ParseJson(text, kIndex));
  const std::string where = std::string(kIndex) + ": ";
  const auto it = root.is_object() ? root.find("weight_map") : root.end();
  if (it == root.end() || !it->is_object() || it->empty()) {
    return FailedPreconditionError(where + "weight_map must be an object of file names");
  }
  if (it->size() > model::kMaxTensors) {
    return FailedPreconditionError(where + "more than " + std::to_string(model::kMaxTensors) +
                                   " tensors");
  }
  WeightMap weights;
  for (const auto& [name, file] : it->items()) {
    const std::string file_name = file.is_string() ? file.get<std::string>() : "";
    // A plain name within the directory: nothing that could lead out of it.
    const bool plain = !file_name.empty() && file_name.size() <= 255 && file_name.front() != '.' &&
                       file_name.find('/') == std::string::npos &&
                       file_name.find('\\') == std::string::npos &&
                       file_name.find('\0') == std::string::npos;
    if (!plain) {
      return FailedPreconditionError(where + "the file of \"" + model::Printable(name) +
                                     "\" is not a plain file name");
    }
    weights.emplace(name, file_name);
  }
  return weights;
}

// The dtype as we have it, if it is one of the kind wanted.
std::optional<DType> KnownDType(std::string_view name, bool integer) {
  if (integer) {
    if (name == "I8") return DType::kI8;
    if (name == "I32") return DType::kI32;
    if (name == "F8_E4M3") return DType::kF8E4M3;
    return std::nullopt;
  }
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

// Why there is nothing to load, as helpfully as the directory allows.
Status NothingToLoad(const fs::path& dir) {
  constexpr int kMostEntries = 10000;
  std::error_code error;
  int seen = 0;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    if (++seen > kMostEntries) break;
    const std::string extension = it->path().extension().string();
    for (const std::string_view other : {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".gguf"}) {
      if (extension == other) {
        return UnimplementedError("only safetensors checkpoints are supported, not " +
                                  model::Printable(it->path().filename().string()));
      }
    }
  }
  return NotFoundError("no " + std::string(kSingle) + " and no " + std::string(kIndex));
}

}  // namespace

Checkpoint::Checkpoint(std::unique_ptr<Files> files) : files_(std::move(files)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

StatusOr<Checkpoint> Checkpoint::Open(const fs::path& dir) {
  std::error_code error;
  const fs::file_status kind = fs::status(dir, error);
  if (kind.type() == fs::file_type::not_found) {
    return NotFoundError("the model directory does not exist");
  }
  if (error || kind.type() != fs::file_type::directory) {
    return FailedPreconditionError("the model path is not a directory");
  }
  WeightMap weights;  // empty: a single file
  std::vector<std::string> names;
  if (fs::exists(dir / kSingle, error)) {
    names.emplace_back(kSingle);
  } else if (fs::exists(dir / kIndex, error)) {
    INFERD_ASSIGN_OR_RETURN(weights, ReadIndex(dir));
    for (const auto& [tensor, file] : weights) names.push_back(file);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (names.size() > kMaxShards) {
      return FailedPreconditionError(std::string(kIndex) + ": more than " +
                                     std::to_string(kMaxShards) + " files");
    }
  } else {
    return NothingToLoad(dir);
  }

  auto files = std::make_unique<Files>();
  files->directory = dir;
  files->names = names;
  for (const std::string& name : names) {
    INFERD_ASSIGN_OR_RETURN(model::MappedFile mapped, model::MappedFile::Open(dir / name));
    INFERD_ASSIGN_OR_RETURN(std::vector<model::StoredTensor> stored,
                            model::ReadSafetensorsHeader(mapped.bytes(), model::Printable(name)));
    if (files->tensors.size() + stored.size() > model::kMaxTensors) {
      return FailedPreconditionError(model::Printable(name) + ": more than " +
                                     std::to_string(model::kMaxTensors) + " tensors in all files");
    }
    for (model::StoredTensor& t : stored) {
      // With an index a tensor counts only where the index says it is.
      if (!weights.empty()) {
        const auto it = weights.find(t.name);
        if (it == weights.end() || it->second != name) continue;
      }
      Files::Place place;
      place.file = files->mapped.size();
      place.begin = t.begin;
      place.end = t.end;
      place.dtype = std::move(t.dtype);
      place.facts.shape = std::move(t.shape);
      files->tensors.emplace(std::move(t.name), std::move(place));
    }
    if (names.size() > kMaxOpen) mapped.Close();
    files->total_bytes += static_cast<int64_t>(mapped.bytes().size());
    files->mapped.push_back(std::move(mapped));
  }
  for (auto& [name, place] : files->tensors) place.facts.dtype = place.dtype;
  for (const auto& [tensor, file] : weights) {
    if (files->tensors.find(tensor) == files->tensors.end()) {
      return FailedPreconditionError(std::string(kIndex) + ": tensor \"" +
                                     model::Printable(tensor) + "\" is not in " +
                                     model::Printable(file));
    }
  }
  return Checkpoint(std::move(files));
}

std::vector<std::string_view> Checkpoint::Names() const {
  std::vector<std::string_view> names;
  names.reserve(files_->tensors.size());
  for (const auto& [name, place] : files_->tensors) names.push_back(name);
  return names;
}

const TensorFacts* Checkpoint::Find(std::string_view name) const {
  const auto it = files_->tensors.find(name);
  return it == files_->tensors.end() ? nullptr : &it->second.facts;
}

StatusOr<TensorView> Checkpoint::View(std::string_view name) const {
  return ViewAs(name, /*integer=*/false);
}

StatusOr<TensorView> Checkpoint::IntegerView(std::string_view name) const {
  return ViewAs(name, /*integer=*/true);
}

StatusOr<TensorView> Checkpoint::ViewAs(std::string_view name, bool integer) const {
  const auto it = files_->tensors.find(name);
  if (it == files_->tensors.end()) {
    return NotFoundError("tensor \"" + model::Printable(name) + "\" is missing");
  }
  const Files::Place& place = it->second;
  const std::string where = "tensor \"" + model::Printable(name) + "\": ";
  const std::optional<DType> dtype = KnownDType(place.dtype, integer);
  if (!dtype) {
    return UnimplementedError(where + "dtype " + place.dtype + " is not supported" +
                              (integer ? " here" : ""));
  }
  TensorView view;
  view.dtype = *dtype;
  if (place.facts.shape.size() > TensorView::kMaxRank) {
    return FailedPreconditionError(where + "has too many dimensions");
  }
  view.rank = static_cast<int>(place.facts.shape.size());
  std::copy(place.facts.shape.begin(), place.facts.shape.end(), view.shape.begin());
  if (view.rank == 0) {  // a scalar: a vector of one
    view.rank = 1;
    view.shape[0] = 1;
  }
  const model::MappedFile& file = files_->mapped[place.file];
  INFERD_CHECK(!file.bytes().empty());
  if (place.begin % static_cast<uint64_t>(DTypeSize(view.dtype)) != 0) {
    return FailedPreconditionError(where + "its bytes are not aligned to its dtype");
  }
  view.data = const_cast<std::byte*>(file.bytes().data() + place.begin);
  return view;
}

int64_t Checkpoint::TotalBytes() const { return files_->total_bytes; }

const fs::path& Checkpoint::directory() const { return files_->directory; }

Hash128 Checkpoint::Identity() const {
  constexpr uint64_t kSampleBytes = 256;
  std::string facts;
  const auto add = [&facts](const void* data, size_t bytes) {
    facts.append(static_cast<const char*>(data), bytes);
  };
  const auto add_number = [&add](uint64_t value) { add(&value, sizeof(value)); };
  for (size_t i = 0; i < files_->mapped.size(); ++i) {
    const model::MappedFile& file = files_->mapped[i];
    // The name ends with a zero, which no name holds.
    add(files_->names[i].c_str(), files_->names[i].size() + 1);
    add_number(file.bytes().size());
    add_number(static_cast<uint64_t>(file.changed_ns()));
  }
  for (const model::MappedFile& file : files_->mapped) file.ReadRandomly(true);
  for (const auto& [name, place] : files_->tensors) {
    add(name.c_str(), name.size() + 1);
    add(place.dtype.c_str(), place.dtype.size() + 1);
    for (const int64_t size : place.facts.shape) add_number(static_cast<uint64_t>(size));
    add_number(place.file);
    add_number(place.begin);
    // From the middle: what is padded is so at the end.
    const uint64_t length = std::min(kSampleBytes, place.end - place.begin);
    const uint64_t from = place.begin + (place.end - place.begin - length) / 2;
    add(files_->mapped[place.file].bytes().data() + from, length);
  }
  for (const model::MappedFile& file : files_->mapped) file.ReadRandomly(false);
  ReleasePages();  // a sample may have brought in 2 MiB around it
  return SipHash128({}, std::as_bytes(std::span(facts)));
}

Status Checkpoint::Read(void* to, const void* from, size_t bytes) const {
  for (const model::MappedFile& file : files_->mapped) {
    if (file.Contains(from)) return file.Read(to, from, bytes);
  }
  std::memcpy(to, from, bytes);
  return OkStatus();
}

void Checkpoint::ReleasePages() const {
  for (const model::MappedFile& file : files_->mapped) file.ReleasePages();
}

void Checkpoint::UnmapExcept(const void* borrowed) {
  for (model::MappedFile& file : files_->mapped) {
    if (borrowed == nullptr || !file.Contains(borrowed)) {
      file = model::MappedFile();
    } else {
      file.ReadRandomly(true);
    }
  }
}

}  // namespace inferd
