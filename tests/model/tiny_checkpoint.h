// Small checkpoints with seeded weights, written by the tests themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"

namespace inferd::testing {

// A directory that goes away with its owner.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string ReadFile(const std::filesystem::path& path);
void WriteFile(const std::filesystem::path& path, std::string_view bytes);

struct TinyTensor {
  std::string name;
  std::string dtype;  // as the file spells it
  std::vector<int64_t> shape;
  std::string bytes;
};

struct TinyCheckpoint {
  nlohmann::json config;
  std::vector<TinyTensor> tensors;

  TinyTensor& tensor(std::string_view name);
  void Remove(std::string_view name);
  // config.json and model.safetensors.
  void Write(const std::filesystem::path& dir) const;
};

// Two layers, hidden 32, vocabulary 64, context 256; 4 heads over 2 KV heads of
// 8. Deterministic in (architecture, seed).
TinyCheckpoint MakeTiny(std::string_view architecture, uint64_t seed = 1,
                        std::string_view dtype = "F32");

// config.json and model.safetensors of a directory that is known to be good.
TinyCheckpoint ReadCheckpoint(const std::filesystem::path& dir);

// header length, header and data of a safetensors file.
std::string EncodeSafetensors(const std::vector<TinyTensor>& tensors);
// The same around any header text.
std::string WrapHeader(std::string_view header, std::string_view data);

// Overwrites element `index` of an F32 tensor.
void SetF32(TinyTensor& tensor, size_t index, float value);

}  // namespace inferd::testing
