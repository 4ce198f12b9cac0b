// How connections between hosts come about.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/handshake.h"
#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd {

// Listens on one address. INVALID_ARGUMENT when it is none, or means all interfaces.
StatusOr<UniqueFd> ListenOn(const std::string& address);

// Whether the other end of a connection has closed it. What it sent before may be unread.
bool OtherEndGone(int fd);

// A connection to `address` whose handshake is done; tries again until `deadline_us`.
// DEADLINE_EXCEEDED with the last refusal. All references outlive the call.
StatusOr<std::unique_ptr<Handshake>> ConnectAndShake(const std::string& address, const Hello& mine,
                                                     const std::string& key,
                                                     const Handshake::Judge& judge,
                                                     EntropySource& entropy, const Clock& clock,
                                                     int64_t deadline_us);

// Shakes hands with whoever connects, with many at once: a stranger who says nothing is
// cut off after a while and keeps nobody waiting meanwhile, and many strangers of an address
// push out each other before anybody of another address. One thread.
class Receptionist {
 public:
  // All outlive it; `listen_fd` is non-blocking.
  Receptionist(int listen_fd, const Hello& mine, const std::string& key,
               const Handshake::Judge& judge, EntropySource& entropy, const Clock& clock);

  // Waits a short while for something to happen; a handshake that is done, or null.
  std::unique_ptr<Handshake> Next();
  // Why the last one was refused; empty when none was.
  const std::string& refusal() const { return refusal_; }

 private:
  struct Visitor {
    std::unique_ptr<Handshake> handshake;
    int64_t deadline_us = 0;
    std::string from;  // its address, without the port
  };

  // False when nobody waits.
  bool Accept();
  // Makes room: of the address with most visitors the oldest that has said nothing yet goes, or
  // the oldest. So whoever floods the door pushes out his own.
  void LetOneGo();
  // Steps visitor `i`; null unless it is done. A refused one is gone afterwards.
  std::unique_ptr<Handshake> Attend(size_t i, bool ready);
  void Note(const Handshake& refused);

  const int listen_fd_;
  const Hello mine_;
  const std::string& key_;
  const Handshake::Judge& judge_;
  EntropySource& entropy_;
  const Clock& clock_;
  std::vector<Visitor> visitors_;  // oldest first
  std::string refusal_;
  bool judged_ = false;  // whether refusal_ is of one who said something wrong
};

}  // namespace inferd
