#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <vector>

namespace inferd {

// Appends numbers, as little-endian machines hold them, to bytes.
class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& out) : out_(out) { out_.clear(); }

  template <typename T>
  requires std::is_arithmetic_v<T>
  void Put(T value) { Append(&value, sizeof(value)); }
  void PutBool(bool value) { Put<uint8_t>(value ? 1 : 0); }
  void PutCount(size_t count) { Put<uint64_t>(count); }
  void PutText(std::string_view text) {
    PutCount(text.size());
    Append(text.data(), text.size());
  }
  // A count, then the numbers.
  template <typename T>
  requires std::is_arithmetic_v<T>
  void PutAll(const std::vector<T>& values) {
    PutCount(values.size());
    Append(values.data(), values.size() * sizeof(T));
  }

 private:
  void Append(const void* data, size_t bytes) {
    const auto* const first = static_cast<const std::byte*>(data);
    if (bytes > 0) out_.insert(out_.end(), first, first + bytes);
  }

  std::vector<std::byte>& out_;
};

}  // namespace inferd
