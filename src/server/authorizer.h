// Who calls, what they may use, and how much: the same for gRPC and HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "inferd/auth/key_ring.h"
#include "inferd/auth/rate_limiter.h"
#include "inferd/base/clock.h"
#include "inferd/base/status.h"
#include "inferd/server/server.h"

namespace inferd {

// The rights of whoever calls. Null where nobody has to say who they are: no keys and
// no client certificates are configured.
using Principal = std::shared_ptr<const ApiKey>;

// What a request brought to say who it is, as the client sent it; empty: nothing.
struct Credentials {
  std::string_view authorization = {};  // "Bearer <secret>"
  std::string_view x_api_key = {};      // the secret alone
  std::string_view certificate = {};    // CertificateId of a verified one
};

// Default deny: a request goes on only with a Principal from here. Thread-safe.
class Authorizer {
 public:
  // `keys` may be null: then a verified certificate counts if `certificates`, and
  // everybody may do everything if not. `clock` must outlive this.
  Authorizer(const Clock& clock, std::shared_ptr<const KeyRing> keys, bool certificates);

  // Keys read again; requests under way keep their rights. Not null where there were
  // keys, nor the other way round.
  void SetKeys(std::shared_ptr<const KeyRing> keys);

  // UNAUTHENTICATED without saying how near it was.
  StatusOr<Principal> Authenticate(const Credentials& credentials) const;
  // The same for the admin service: PERMISSION_DENIED for a key that is not for it.
  StatusOr<Principal> AuthenticateAdmin(const Credentials& credentials) const;

  RateLimiter& limiter() { return limiter_; }

 private:
  const bool certificates_;
  mutable std::mutex mutex_;
  std::shared_ptr<const KeyRing> keys_;  // guarded by mutex_
  RateLimiter limiter_;
};

// PERMISSION_DENIED when the key's list has neither the model's id nor an alias.
Status CheckModelAccess(const Principal& principal, const ServedModel& model);

// One request's share of its tenant's limits; given back when it goes. One thread at
// a time. `limiter` must outlive it.
class QuotaShare {
 public:
  // RATE_LIMITED when there is none left.
  static StatusOr<QuotaShare> Take(RateLimiter& limiter, Principal principal);
  QuotaShare(QuotaShare&& other) noexcept = default;
  QuotaShare& operator=(QuotaShare&&) = delete;
  ~QuotaShare();

  // What the request read and made, once that is known.
  void Charge(int64_t tokens);

 private:
  QuotaShare(RateLimiter& limiter, Principal principal)
      : limiter_(&limiter), principal_(std::move(principal)) {}
  RateLimiter* limiter_;
  Principal principal_;  // null: nothing to give back
};

}  // namespace inferd
