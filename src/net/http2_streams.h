// The open streams of an HTTP/2 connection, and what their bodies hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::net {

// A request's body is held by the server until one side is done with the stream; what
// counts is past kFreeBodyBytes of each. Bounded by whoever opens streams. No threads.
class Http2Streams {
 public:
  // While bodies are held, a connection that brings less of them than this within the time
  // for it makes no progress.
  static constexpr int64_t kProgressBytes = 16 << 10;

  enum class Side { kClient, kServer };

  // `id` is above those of all streams before.
  void Open(uint32_t id);
  // One side has sent its last; the stream goes with the second. Unknown streams, which
  // the other side ended a moment ago, are let be; so in all of these.
  void End(uint32_t id, Side side);
  void Erase(uint32_t id);
  void AddBody(uint32_t id, int64_t bytes, int64_t now_ms);

  int32_t size() const { return static_cast<int32_t>(streams_.size()); }
  // Whether the server has sent the whole answer of an open stream.
  bool IsAnswered(uint32_t id) const;
  // Of all bodies, past what is free of each.
  int64_t held_bytes() const { return held_bytes_; }
  // When held bodies were last found to get on.
  int64_t progress_ms() const { return progress_ms_; }
  // INTERNAL when the streams are no sorted set of a client's streams up to `last_id`, or
  // hold something else than is counted.
  Status CheckIntegrity(uint32_t last_id) const;

 private:
  struct Stream {
    uint32_t id = 0;
    int64_t body_bytes = 0;
    bool client_ended = false;
    bool server_ended = false;
  };
  static int64_t HeldBytes(const Stream& stream);
  size_t Find(uint32_t id) const;  // size() when it is not there

  std::vector<Stream> streams_;  // by id
  int64_t held_bytes_ = 0;
  int64_t progress_bytes_ = 0;  // since progress_ms_
  int64_t progress_ms_ = 0;
};

}  // namespace inferd::net
