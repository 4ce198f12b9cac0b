#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "inferd/auth/key_ring.h"
#include "inferd/base/clock.h"
#include "inferd/base/status.h"

namespace inferd {

// Token buckets and a count of running requests per tenant. A bucket holds what a
// minute allows, and fills evenly. Tenants come from the key file alone, and those
// without anything running and with full buckets are forgotten; a last bound holds
// while key files change quickly. Thread-safe.
class RateLimiter {
 public:
  static constexpr size_t kMaxTenants = 2 * KeyRing::kMaxKeys;

  explicit RateLimiter(const Clock& clock) : clock_(clock) {}

  // Takes one request; RESOURCE_EXHAUSTED / RATE_LIMITED with the time to wait when
  // a limit of `key` is reached. Each success is followed by one Release of the same
  // key as it was then, also if the key file has changed meanwhile.
  Status Acquire(const ApiKey& key);
  // Charges tokens that were read or made; may leave the bucket below zero, which
  // later requests wait for.
  void Charge(const ApiKey& key, int64_t tokens);
  void Release(const ApiKey& key);

  // How many are remembered.
  size_t tenants() const;
  // Aborts when the counts contradict each other.
  void CheckIntegrity() const;

 private:
  // What was spent and has not come back yet.
  struct Bucket {
    double spent = 0;
    double Refill(int64_t per_minute, int64_t elapsed_us);
  };
  struct Tenant {
    Bucket requests;
    Bucket tokens;
    int64_t requests_per_minute = 0;  // as last seen; 0: no limit
    int64_t tokens_per_minute = 0;
    int64_t updated_us = 0;
    int32_t running = 0;
  };

  // All with mutex_ held.
  void Refill(Tenant* tenant, int64_t now_us) const;
  void ForgetIdle(int64_t now_us);

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Tenant> tenants_;  // guarded by mutex_
  size_t next_sweep_ = 64;                           // guarded by mutex_
  int64_t running_ = 0;                              // guarded by mutex_: of all tenants
};

}  // namespace inferd
