// What was found out about a matrix library's algorithms on one kind of GPU, kept from one
// start to the next. Host code; it knows neither the device nor the library.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>

namespace inferd {

// The algorithm that is best for a shape, in the library's own words.
struct TunedAlgorithm {
  std::array<uint64_t, 8> words{};
  uint64_t workspace_bytes = 0;
};

// Lines of text, a shape each. A file that is damaged, too long, of another library or GPU, of
// another user or that everybody may write is as good as none; what it says is the library's to
// check. One thread; of several processes that write the last one stays.
class AlgorithmFile {
 public:
  // What a product is, rows, outputs, bytes of a row.
  using Shape = std::tuple<int32_t, int32_t, int32_t, int32_t>;

  AlgorithmFile() = default;
  // `directory` empty: nothing is read or written.
  AlgorithmFile(const std::filesystem::path& directory, const std::string& gpu,
                const std::string& library_version);

  bool enabled() const { return !path_.empty(); }
  const std::filesystem::path& path() const { return path_; }
  const TunedAlgorithm* Find(const Shape& shape) const;
  void Add(const Shape& shape, const TunedAlgorithm& algorithm);
  // Replaces the file as a whole, where something was added. What cannot be written is not:
  // it is found out again.
  void Write();

  static constexpr size_t kMaxShapes = 1024;

 private:
  void Read();

  std::filesystem::path path_;
  std::string title_;
  std::map<Shape, TunedAlgorithm> shapes_;
  bool changed_ = false;
};

}  // namespace inferd
