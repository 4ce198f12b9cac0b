// How many connections are open, in total and per address.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "inferd/base/status.h"
#include "net/socket_address.h"

namespace inferd::net {

// Thread-safe. Outlives its leases.
class ConnectionCaps {
 public:
  ConnectionCaps(int32_t total, int32_t per_address)
      : max_total_(total), max_per_address_(per_address) {}

  // One place; given back when destroyed.
  class Lease {
   public:
    Lease() = default;
    Lease(ConnectionCaps* caps, const AddressKey& key) : caps_(caps), key_(key) {}
    Lease(Lease&& other) noexcept : caps_(std::exchange(other.caps_, nullptr)), key_(other.key_) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(caps_, other.caps_);
      std::swap(key_, other.key_);
      return *this;
    }
    ~Lease() {
      if (caps_ != nullptr) caps_->GiveBack(key_);
    }

   private:
    ConnectionCaps* caps_ = nullptr;
    AddressKey key_;
  };

  enum class Refusal { kTotal, kAddress };
  struct Answer {
    std::optional<Refusal> refusal;
    Lease lease;  // when not refused
  };
  Answer Take(const AddressKey& key);
  int32_t open() const;
  // INTERNAL when the counts per address do not add up.
  Status CheckIntegrity() const;

 private:
  void GiveBack(const AddressKey& key);

  const int32_t max_total_;
  const int32_t max_per_address_;
  mutable std::mutex mutex_;
  int32_t total_ = 0;                          // under mutex_
  int32_t uncounted_ = 0;                      // under mutex_: of no address
  std::map<AddressKey, int32_t> per_address_;  // under mutex_; no zeros
};

}  // namespace inferd::net
