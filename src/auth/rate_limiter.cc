#include "inferd/auth/rate_limiter.h"

#include <algorithm>
#include <cmath>

#include "inferd/base/check.h"

namespace inferd {
namespace {

constexpr double kMinuteUs = 60e6;
constexpr int64_t kConcurrencyRetryMs = 1'000;
constexpr size_t kMinSweep = 64;

bool Unlimited(const ApiKey& key) {
  return key.requests_per_minute == 0 && key.tokens_per_minute == 0 && key.max_concurrent == 0;
}

// `limit` is the field of the key file.
Status RateLimited(const char* limit, int64_t value, int64_t retry_after_ms) {
  ErrorDetail detail;
  detail.reason = "RATE_LIMITED";
  detail.retry_after_ms = retry_after_ms;
  detail.metadata.emplace_back("limit", limit);
  detail.metadata.emplace_back("value", std::to_string(value));
  return Status(
      StatusCode::kResourceExhausted,
      "the limit of this key is reached: " + std::string(limit) + " " + std::to_string(value),
      std::move(detail));
}

// Until `excess` of a bucket has come back.
int64_t WaitMs(double excess, int64_t per_minute) {
  return static_cast<int64_t>(
      std::ceil(excess * (kMinuteUs / 1000) / static_cast<double>(per_minute)));
}

}  // namespace

double RateLimiter::Bucket::Refill(int64_t per_minute, int64_t elapsed_us) {
  if (per_minute == 0) return spent = 0;
  const double back = static_cast<double>(per_minute) * static_cast<double>(elapsed_us) / kMinuteUs;
  return spent = std::max(0.0, spent - back);
}

void RateLimiter::Refill(Tenant* tenant, int64_t now_us) const {
  const int64_t elapsed_us = std::max<int64_t>(0, now_us - tenant->updated_us);
  tenant->updated_us = now_us;
  tenant->requests.Refill(tenant->requests_per_minute, elapsed_us);
  tenant->tokens.Refill(tenant->tokens_per_minute, elapsed_us);
}

void RateLimiter::ForgetIdle(int64_t now_us) {
  for (auto it = tenants_.begin(); it != tenants_.end();) {
    Tenant& tenant = it->second;
    Refill(&tenant, now_us);
    const bool idle = tenant.running == 0 && tenant.requests.spent <= 0 && tenant.tokens.spent <= 0;
    it = idle ? tenants_.erase(it) : std::next(it);
  }
  next_sweep_ = std::max(kMinSweep, 2 * tenants_.size());
}

Status RateLimiter::Acquire(const ApiKey& key) {
  if (Unlimited(key)) return OkStatus();
  const int64_t now_us = clock_.NowUs();
  std::lock_guard lock(mutex_);
  auto it = tenants_.find(key.tenant);
  if (it == tenants_.end()) {
    if (tenants_.size() >= next_sweep_ || tenants_.size() >= kMaxTenants) ForgetIdle(now_us);
    if (tenants_.size() >= kMaxTenants) {
      return RateLimited("max_tenants", static_cast<int64_t>(kMaxTenants), kConcurrencyRetryMs);
    }
    it = tenants_.emplace(key.tenant, Tenant{}).first;
    it->second.updated_us = now_us;
  }
  Tenant& tenant = it->second;
  Refill(&tenant, now_us);
  // From now on by the present limits; what was spent before stays spent.
  tenant.requests_per_minute = key.requests_per_minute;
  tenant.tokens_per_minute = key.tokens_per_minute;
  if (key.max_concurrent > 0 && tenant.running >= key.max_concurrent) {
    return RateLimited("max_concurrent", key.max_concurrent, kConcurrencyRetryMs);
  }
  const double request_excess =
      tenant.requests.spent + 1 - static_cast<double>(key.requests_per_minute);
  if (key.requests_per_minute > 0 && request_excess > 1e-9) {
    return RateLimited("requests_per_minute", key.requests_per_minute,
                       WaitMs(request_excess, key.requests_per_minute));
  }
  // One token must be left; how many the request takes is not known yet.
  const double token_excess = tenant.tokens.spent + 1 - static_cast<double>(key.tokens_per_minute);
  if (key.tokens_per_minute > 0 && token_excess > 1e-9) {
    return RateLimited("tokens_per_minute", key.tokens_per_minute,
                       WaitMs(token_excess, key.tokens_per_minute));
  }
  if (key.requests_per_minute > 0) tenant.requests.spent += 1;
  ++tenant.running;
  ++running_;
  return OkStatus();
}

void RateLimiter::Charge(const ApiKey& key, int64_t tokens) {
  if (key.tokens_per_minute == 0 || tokens <= 0) return;
  const int64_t now_us = clock_.NowUs();
  std::lock_guard lock(mutex_);
  const auto it = tenants_.find(key.tenant);
  INFERD_CHECK(it != tenants_.end());  // it is running
  Refill(&it->second, now_us);
  it->second.tokens.spent += static_cast<double>(tokens);
}

void RateLimiter::Release(const ApiKey& key) {
  if (Unlimited(key)) return;
  std::lock_guard lock(mutex_);
  const auto it = tenants_.find(key.tenant);
  INFERD_CHECK(it != tenants_.end() && it->second.running > 0);
  --it->second.running;
  --running_;
}

size_t RateLimiter::tenants() const {
  std::lock_guard lock(mutex_);
  return tenants_.size();
}

void RateLimiter::CheckIntegrity() const {
  std::lock_guard lock(mutex_);
  int64_t running = 0;
  for (const auto& [name, tenant] : tenants_) {
    INFERD_CHECK(tenant.running >= 0 && tenant.requests.spent >= 0 && tenant.tokens.spent >= 0);
    running += tenant.running;
  }
  INFERD_CHECK(running == running_);
  INFERD_CHECK(tenants_.size() <= kMaxTenants);
}

}  // namespace inferd
