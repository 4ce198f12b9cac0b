// What the engine's process and the process of a rank say to each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inferd/base/status.h"

namespace inferd {

struct HostChannelOptions {
  // Number of this attempt to run the ranks; it is on every message, and one of another
  // attempt breaks the channel. Neither 0 nor kEpochOfEngine.
  uint64_t epoch = 1;
  // The longest payload, for both directions; at most 1 GiB, the same on both sides.
  int64_t max_message_bytes = 64 << 20;
  // How long one Send may wait for room.
  int64_t send_timeout_us = 10'000'000;
};

struct HostMessage {
  uint32_t kind = 0;  // what the two sides have agreed on; any number
  std::span<const std::byte> payload;
};

// One side of a link between two processes, which carries whole messages of bytes both
// ways, in order. One thread sends and one receives, which may be the same; Abort(),
// Alert(), health() and epoch() may be called by any. It is destroyed by a thread that knows that
// no call is under way; what was sent before can still be received.
//
// Each message has a header of fixed layout: magic number, version, epoch, number
// within its direction, kind, size and a check over all of it. A message that does not
// fit is never delivered: the channel is broken with DATA_LOSS.
//
// Errors. UNAVAILABLE: the other side died, left or broke the channel. ABORTED follows
// Abort(). DEADLINE_EXCEEDED of Send: the other side takes no messages. These, and
// DATA_LOSS, break the channel for good: every later call returns the same status at
// once, the other side learns of it, and both make a new one. Two break nothing:
// DEADLINE_EXCEEDED of Receive (nothing whole has come; what came of a message is
// kept), and INVALID_ARGUMENT of Send (longer than max_message_bytes).
class HostChannel {
 public:
  virtual ~HostChannel() = default;

  // Takes over the bytes of one message. May return before it was received.
  virtual Status Send(uint32_t kind, std::span<const std::byte> payload) = 0;
  // The next message; waits for it up to `timeout_us` (0: takes what is there). Its
  // payload is valid until the next call.
  virtual StatusOr<HostMessage> Receive(int64_t timeout_us) = 0;
  // Breaks the channel; calls under way, here and on the other side, fail.
  virtual void Abort() = 0;
  // Says to the other side what it hears whatever its owner does, where the channel has a watch
  // of its own (TcpChannelOptions::on_alert); nothing where it has none. Any thread; may wait for
  // a tenth of a second, and may be lost.
  virtual void Alert() {}

  // OK, or why the channel is broken, as far as that is known by now. Some channels know
  // it only from calls that failed, those between hosts also from a watch of their own
  // (TcpChannelOptions::silence_us).
  virtual Status health() const = 0;
  virtual uint64_t epoch() const = 0;
};

}  // namespace inferd
