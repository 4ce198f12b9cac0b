#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace inferd {

// Takes numbers from bytes that nobody vouches for. The first thing that is wrong is
// remembered, and everything after it reads as zero or empty.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : left_(bytes) {}

  bool ok() const { return ok_; }
  // Nothing was wrong and nothing is left.
  bool AtEnd() const { return ok_ && left_.empty(); }
  void Fail() {
    ok_ = false;
    left_ = {};
  }
  // Fails unless `holds`.
  void Require(bool holds) {
    if (!holds) Fail();
  }

  template <typename T>
  requires std::is_arithmetic_v<T> T Take() {
    T value{};
    if (left_.size() < sizeof(T)) {
      Fail();
      return value;
    }
    std::memcpy(&value, left_.data(), sizeof(T));
    left_ = left_.subspan(sizeof(T));
    return value;
  }
  bool TakeBool() {
    const auto value = Take<uint8_t>();
    Require(value <= 1);
    return value == 1;
  }
  // A count of things of which each takes at least `min_bytes` of what is left.
  size_t TakeCount(size_t min_bytes) {
    const auto count = Take<uint64_t>();
    if (count > left_.size() / min_bytes) {
      Fail();
      return 0;
    }
    return static_cast<size_t>(count);
  }
  std::string TakeText() {
    const size_t size = TakeCount(1);
    std::string text(reinterpret_cast<const char*>(left_.data()), size);
    left_ = left_.subspan(size);
    return text;
  }
  template <typename T>
  requires std::is_arithmetic_v<T> std::vector<T> TakeAll() {
    std::vector<T> values(TakeCount(sizeof(T)));
    const size_t bytes = values.size() * sizeof(T);
    if (bytes > 0) std::memcpy(values.data(), left_.data(), bytes);
    left_ = left_.subspan(bytes);
    return values;
  }

 private:
  std::span<const std::byte> left_;
  bool ok_ = true;
};

}  // namespace inferd
