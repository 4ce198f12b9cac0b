#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace inferd::net {

inline constexpr size_t kHttp2FrameHeaderBytes = 9;

// Of the first four bytes.
uint32_t ReadBigEndian32(std::span<const uint8_t> bytes);

// Splits a direction's bytes into frames. The payload's first bytes are kept for
// those who asked for them.
class Http2FrameReader {
 public:
  struct Frame {
    uint32_t length = 0;  // of the payload
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
  };
  enum class Event { kNone, kHeader, kPeek, kSetting };

  // Takes bytes until one of the events; returns it, `used` bytes were taken.
  Event Next(std::span<const uint8_t> bytes, size_t& used);
  // After kHeader: the first `count` payload bytes (at most 4, at most all) give a
  // kPeek, or each 6-byte entry a kSetting.
  void Peek(uint32_t count);
  void PeekSettings();

  const Frame& frame() const { return frame_; }
  std::span<const uint8_t> peeked() const { return {peeked_.data(), have_peeked_}; }
  bool at_boundary() const { return have_header_ == 0; }

 private:
  std::array<uint8_t, kHttp2FrameHeaderBytes> header_{};
  size_t have_header_ = 0;
  Frame frame_;
  uint32_t payload_left_ = 0;
  std::array<uint8_t, 6> peeked_{};
  size_t have_peeked_ = 0;
  size_t want_peeked_ = 0;
  bool settings_ = false;
};

}  // namespace inferd::net
