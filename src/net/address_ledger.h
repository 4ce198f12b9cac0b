// What each address did lately, and for how long it is refused for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>

#include "inferd/base/status.h"
#include "net/leaky_bucket.h"
#include "net/socket_address.h"

namespace inferd::net {

struct AddressLimits {
  int64_t max_new_connections = 1'000;  // a second; as many at once after a pause
  // Points that one address may have: they drain away within window_ms.
  int64_t max_points = 1'000;
  int64_t window_ms = 10'000;
  int64_t penalty_ms = 30'000;  // how long an address with more points is refused
  size_t max_addresses = 16'384;
};

// Connections come and go faster than one of them can be judged: who is ended for what it
// did and comes again at once is the same client as before. Remembers the addresses that
// were heard of last, at most max_addresses of them; the default key (Unix sockets) is
// never refused and not remembered. Thread-safe.
class AddressLedger {
 public:
  explicit AddressLedger(const AddressLimits& limits) : limits_(limits) {}

  enum class Admission { kAdmitted, kTooMany, kShutOut };
  // Of a new connection. What is refused does not count.
  Admission Admit(const AddressKey& key, int64_t now_ms);

  // Resets and other work that was asked for in vain. True when this shut the address out.
  bool Charge(const AddressKey& key, int64_t points, int64_t now_ms);
  // Whether a line about this address is due: there was none within window_ms.
  bool MayTell(const AddressKey& key, int64_t now_ms);

  size_t size() const;
  // INTERNAL when the order of use and the addresses do not match, or are too many.
  Status CheckIntegrity() const;

 private:
  struct Entry {
    std::list<AddressKey>::iterator place;
    LeakyBucket connections;
    LeakyBucket points;
    int64_t shut_out_until_ms = 0;
    int64_t may_tell_at_ms = 0;
  };
  // The entry of `key`, now the one used last. Forgets another where there is no room.
  Entry& Touch(const AddressKey& key);

  const AddressLimits limits_;
  mutable std::mutex mutex_;
  std::map<AddressKey, Entry> entries_;  // under mutex_
  std::list<AddressKey> by_use_;         // under mutex_; the oldest first
};

}  // namespace inferd::net
