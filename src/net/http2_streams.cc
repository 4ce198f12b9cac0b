#include "net/http2_streams.h"

#include <algorithm>

#include "inferd/net/http2_limits.h"

namespace inferd::net {

void Http2Streams::Open(uint32_t id) { streams_.push_back({.id = id}); }

size_t Http2Streams::Find(uint32_t id) const {
  const auto place =
      std::lower_bound(streams_.begin(), streams_.end(), id,
                       [](const Stream& stream, uint32_t wanted) { return stream.id < wanted; });
  const bool found = place != streams_.end() && place->id == id;
  return found ? static_cast<size_t>(place - streams_.begin()) : streams_.size();
}

void Http2Streams::End(uint32_t id, Side side) {
  const size_t place = Find(id);
  if (place == streams_.size()) return;
  Stream& stream = streams_[place];
  held_bytes_ -= HeldBytes(stream);
  (side == Side::kClient ? stream.client_ended : stream.server_ended) = true;
  if (stream.client_ended && stream.server_ended) Erase(id);
}

void Http2Streams::Erase(uint32_t id) {
  const size_t place = Find(id);
  if (place == streams_.size()) return;
  held_bytes_ -= HeldBytes(streams_[place]);
  streams_.erase(streams_.begin() + static_cast<ptrdiff_t>(place));
}

void Http2Streams::AddBody(uint32_t id, int64_t bytes, int64_t now_ms) {
  const size_t place = Find(id);
  if (place == streams_.size()) return;
  Stream& stream = streams_[place];
  const bool held_none = held_bytes_ == 0;
  held_bytes_ -= HeldBytes(stream);
  stream.body_bytes += bytes;
  held_bytes_ += HeldBytes(stream);
  progress_bytes_ += bytes;
  if (held_none || progress_bytes_ >= kProgressBytes) {
    progress_bytes_ = 0;
    progress_ms_ = now_ms;
  }
}

bool Http2Streams::IsAnswered(uint32_t id) const {
  const size_t place = Find(id);
  return place < streams_.size() && streams_[place].server_ended;
}

// Either end lets the server be done with the body.
int64_t Http2Streams::HeldBytes(const Stream& stream) {
  if (stream.client_ended || stream.server_ended) return 0;
  return std::max<int64_t>(0, stream.body_bytes - kFreeBodyBytes);
}

Status Http2Streams::CheckIntegrity(uint32_t last_id) const {
  int64_t held_bytes = 0;
  for (size_t i = 0; i < streams_.size(); ++i) {
    const Stream& stream = streams_[i];
    held_bytes += HeldBytes(stream);
    if (stream.id % 2 == 0 || stream.id > last_id || (i > 0 && streams_[i - 1].id >= stream.id) ||
        (stream.client_ended && stream.server_ended)) {
      return InternalError("the open streams are not a sorted set");
    }
  }
  if (held_bytes != held_bytes_) return InternalError("the bodies held are miscounted");
  return OkStatus();
}

}  // namespace inferd::net
