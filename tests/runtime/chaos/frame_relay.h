// Somebody between a rank of another host and the engine who knows their messages, and spoils one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inferd/base/unique_fd.h"

namespace inferd::testing {

enum class LinkFault : uint8_t {
  kCut,             // the connection is reset when the message comes
  kCutInside,       // half of it arrives, then the connection ends
  kHalfOpen,        // from it on nothing arrives on either side, and nobody is told
  kSlow,            // it arrives some bytes at a time
  kLost,            // it does not arrive, what follows does
  kChangedHeader,   // a bit of what it says of itself is another
  kChangedPayload,  // its last bit is another
  kReplayed,        // it arrives twice
  kOvertaken,       // the next one arrives before it
  kOldEpoch,        // instead of it one like it arrives, of ranks that are gone
  kOtherVersion,    // it is of another version
};
inline constexpr int kNumLinkFaults = 11;
const char* NameOf(LinkFault fault);

// Kinds of messages: those of RankMessage, and the two of the handshake, on either side.
inline constexpr uint32_t kHelloMessage = 1000;
inline constexpr uint32_t kProofMessage = 1001;

struct LinkStrike {
  uint32_t kind = 0;
  bool to_engine = false;
  int nth = 0;  // of its kind and direction on one connection
  LinkFault fault = LinkFault::kCut;
};

class FrameRelay {
 public:
  // Listens on `address`, and passes on to and from `engine`; both "host:port". Strikes come one
  // after the other, each once.
  FrameRelay(const std::string& address, std::string engine, std::vector<LinkStrike> strikes);
  ~FrameRelay();

  bool over() const { return turn_.load() >= strikes_.size(); }
  // When the last one struck, by the system's clock.
  int64_t struck_us() const { return struck_us_.load(); }

 private:
  struct Direction {
    int from = -1;
    int to = -1;
    bool to_engine = false;
    std::vector<std::byte> came;
    std::vector<std::byte> held;  // overtaken by the next message
    size_t messages = 0;
    std::map<uint32_t, int> of_kind;
    std::map<uint32_t, std::vector<std::byte>> last;  // of each kind
  };

  void Listen();
  void Serve(UniqueFd rank);
  void PassOnUntilTheEnd(Direction* ways);
  // Passes on the messages that are complete; false: the connection ends.
  bool PassOn(Direction& way);
  // False: likewise.
  bool Deliver(Direction& way, uint32_t kind, std::vector<std::byte> message);
  bool Spoil(Direction& way, uint32_t kind, LinkFault fault, std::vector<std::byte> message);

  const std::string engine_;
  const std::vector<LinkStrike> strikes_;
  const UniqueFd listener_;
  const UniqueFd stop_;
  std::atomic<size_t> turn_{0};
  std::atomic<int64_t> struck_us_{0};
  std::mutex mutex_;
  // Of connections that are over, by direction and kind: the last one.
  std::map<std::pair<bool, uint32_t>, std::vector<std::byte>> old_;  // guarded by mutex_
  std::list<std::thread> connections_;                               // the listening thread's
  std::thread thread_;                                               // last
};

}  // namespace inferd::testing
