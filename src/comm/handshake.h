#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/hmac.h"
#include "inferd/base/hash.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd {

// What a connection is for, and on which end.
enum class HelloRole : uint32_t {
  kEngine = 1,      // a host channel's end that listens
  kEngineRank = 2,  // and the one that connects
  kGroupRank = 3,   // a member of a group, on both ends
};

// The first thing either side says. Plain data of little-endian machines.
struct Hello {
  static constexpr uint64_t kMagic = 0x6f6c'6c65'6866'6e69;  // "infhello"
  static constexpr uint32_t kVersion = 5;

  uint64_t magic = kMagic;
  uint32_t version = kVersion;
  HelloRole role = HelloRole::kGroupRank;
  uint64_t epoch = 0;
  uint64_t nonce_low = 0;
  uint64_t nonce_high = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  uint64_t size = 0;        // chunk or longest message, in bytes: the same on both sides
  uint64_t silence_us = 0;  // of a host channel: the heartbeat's time-out, or 0; the same too
};
static_assert(sizeof(Hello) == 64);

// INVALID_ARGUMENT when the key is too short to be one.
Status CheckLinkKey(const std::string& key);

// Both ends of a new connection prove that they have the key: each sends its hello and
// a tag over both hellos and its own end's name. Who connects proves itself first, so a
// stranger is told nothing but the hello. Never waits: the owner polls and calls Step().
// One thread.
class Handshake {
 public:
  enum class End : uint8_t { kConnects = 0, kAccepts = 1 };
  enum class State : uint8_t { kGoing, kDone, kRefused };
  // Empty when the other side, which has proved itself, may stay; or why not.
  using Judge = std::function<std::string(const Hello& theirs)>;

  // `key` and `judge` outlive the handshake. Sets a nonce in `mine`.
  Handshake(UniqueFd socket, End end, Hello mine, const std::string& key, const Judge& judge,
            EntropySource& entropy);

  // Does what can be done now.
  State Step();
  // What to poll the socket for.
  pollfd Wanted() const;
  // Whether the other side has said a hello.
  bool greeted() const { return phase_ != Phase::kHello; }
  // Whether the other side has said something that was wrong, rather than nothing.
  bool judged() const { return judged_; }
  const std::string& refusal() const { return refusal_; }

  // When done:
  const Hello& theirs() const { return theirs_; }
  int socket_fd() const { return socket_.get(); }
  UniqueFd TakeSocket() { return std::move(socket_); }
  // Keys of this connection, one for each direction; unlike those of any other.
  HashKey SendKey() const;
  HashKey ReceiveKey() const;

 private:
  enum class Phase : uint8_t { kHello, kTag, kLastTag, kOver };

  State Refuse(std::string why, bool judged);
  void Queue(std::span<const std::byte> bytes);
  // False while not all could be sent or received. Refuses when the connection ended.
  bool Flush();
  bool Fill(std::span<std::byte> into);
  HmacTag Tag(End of) const;
  HashKey DirectionKey(End from) const;
  State OnHello();
  State OnTag();

  UniqueFd socket_;
  const End end_;
  const std::string& key_;
  const Judge& judge_;
  Hello mine_;
  Hello theirs_;
  HmacTag their_tag_{};
  Phase phase_ = Phase::kHello;
  std::vector<std::byte> out_;
  size_t out_done_ = 0;
  size_t in_done_ = 0;  // of what is being received
  bool judged_ = false;
  std::string refusal_;
};

}  // namespace inferd
