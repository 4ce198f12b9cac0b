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

// Token buckets and a count of running requests per tenant. Tenants come from the
// key file alone, and those without anything running and with full buckets are
// forgotten, so the map is bounded by KeyRing::kMaxKeys. Thread-safe.
class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock) : clock_(clock) {}

  // Takes one request; RESOURCE_EXHAUSTED / RATE_LIMITED with the time to wait when
  // a limit of `key` is reached. Each success is followed by one Release.
  Status Acquire(const ApiKey& key);
  // Charges tokens that were read or made; may leave the bucket below zero, which
  // later requests wait for.
  void Charge(const ApiKey& key, int64_t tokens);
  void Release(const ApiKey& key);

  size_t tenants() const;
  // Aborts when the counts contradict each other.
  void CheckIntegrity() const;

 private:
  struct Bucket {
    double level = 0;  // of a minute's allowance
    int64_t updated_us = 0;
  };
  struct Tenant {
    Bucket requests;
    Bucket tokens;
    int32_t running = 0;
  };

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Tenant> tenants_;  // guarded by mutex_
};

}  // namespace inferd
