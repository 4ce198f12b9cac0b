#include "net/http2_frame_reader.h"

#include <algorithm>

namespace inferd::net {

uint32_t ReadBigEndian32(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | static_cast<uint32_t>(bytes[3]);
}

Http2FrameReader::Event Http2FrameReader::Next(std::span<const uint8_t> bytes, size_t& used) {
  used = 0;
  while (used < bytes.size()) {
    if (have_header_ < header_.size()) {
      header_[have_header_++] = bytes[used++];
      if (have_header_ < header_.size()) continue;
      frame_.length = static_cast<uint32_t>(header_[0]) << 16 |
                      static_cast<uint32_t>(header_[1]) << 8 | header_[2];
      frame_.type = header_[3];
      frame_.flags = header_[4];
      frame_.stream = ReadBigEndian32(std::span(header_).subspan(5)) & 0x7FFFFFFF;
      payload_left_ = frame_.length;
      have_peeked_ = 0;
      want_peeked_ = 0;
      settings_ = false;
      if (payload_left_ == 0) have_header_ = 0;
      return Event::kHeader;
    }
    if (want_peeked_ > 0) {
      if (have_peeked_ == peeked_.size()) have_peeked_ = 0;  // the next entry begins
      peeked_[have_peeked_++] = bytes[used++];
      if (--payload_left_ == 0) have_header_ = 0;
      if (have_peeked_ < want_peeked_) continue;
      const bool more = settings_ && payload_left_ >= peeked_.size();
      want_peeked_ = more ? peeked_.size() : 0;
      return settings_ ? Event::kSetting : Event::kPeek;
    }
    const size_t skip = std::min<size_t>(payload_left_, bytes.size() - used);
    used += skip;
    payload_left_ -= static_cast<uint32_t>(skip);
    if (payload_left_ == 0) have_header_ = 0;
  }
  return Event::kNone;
}

void Http2FrameReader::Peek(uint32_t count) { want_peeked_ = std::min(count, payload_left_); }

void Http2FrameReader::PeekSettings() {
  settings_ = true;
  want_peeked_ = payload_left_ >= peeked_.size() ? peeked_.size() : 0;
}

}  // namespace inferd::net
