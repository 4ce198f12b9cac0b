#include "net/connection_caps.h"

namespace inferd::net {

ConnectionCaps::Answer ConnectionCaps::Take(const AddressKey& key) {
  std::lock_guard lock(mutex_);
  if (total_ >= max_total_) return {.refusal = Refusal::kTotal, .lease = {}};
  if (key.family == 0) {
    ++uncounted_;
  } else {
    const auto place = per_address_.find(key);
    if (place == per_address_.end()) {
      if (max_per_address_ < 1) return {.refusal = Refusal::kAddress, .lease = {}};
      per_address_.emplace(key, 1);
    } else {
      if (place->second >= max_per_address_) return {.refusal = Refusal::kAddress, .lease = {}};
      ++place->second;
    }
  }
  ++total_;
  return {.refusal = std::nullopt, .lease = Lease(this, key)};
}

void ConnectionCaps::GiveBack(const AddressKey& key) {
  std::lock_guard lock(mutex_);
  --total_;
  if (key.family == 0) {
    --uncounted_;
    return;
  }
  const auto place = per_address_.find(key);
  INFERD_CHECK(place != per_address_.end());
  if (--place->second == 0) per_address_.erase(place);
}

int32_t ConnectionCaps::open() const {
  std::lock_guard lock(mutex_);
  return total_;
}

Status ConnectionCaps::CheckIntegrity() const {
  std::lock_guard lock(mutex_);
  int64_t sum = uncounted_;
  for (const auto& [key, count] : per_address_) {
    if (count < 1 || count > max_per_address_) {
      return InternalError("connections: a count per address is out of range");
    }
    sum += count;
  }
  if (sum != total_ || total_ > max_total_) {
    return InternalError("connections: the counts do not add up");
  }
  return OkStatus();
}

}  // namespace inferd::net
