#include "net/address_ledger.h"

namespace inferd::net {

AddressLedger::Entry& AddressLedger::Touch(const AddressKey& key) {
  if (const auto found = entries_.find(key); found != entries_.end()) {
    by_use_.splice(by_use_.end(), by_use_, found->second.place);
    return found->second;
  }
  if (entries_.size() >= limits_.max_addresses) {
    entries_.erase(by_use_.front());
    by_use_.pop_front();
  }
  Entry& entry = entries_[key];
  entry.place = by_use_.insert(by_use_.end(), key);
  return entry;
}

AddressLedger::Admission AddressLedger::Admit(const AddressKey& key, int64_t now_ms) {
  if (key.family == 0) return Admission::kAdmitted;
  std::lock_guard lock(mutex_);
  Entry& entry = Touch(key);
  if (now_ms < entry.shut_out_until_ms) return Admission::kShutOut;
  constexpr int64_t kSecondMs = 1'000;
  entry.connections.Drain(limits_.max_new_connections, kSecondMs, now_ms);
  if (entry.connections.level() + 1 > static_cast<double>(limits_.max_new_connections)) {
    return Admission::kTooMany;
  }
  entry.connections.Add(1);
  return Admission::kAdmitted;
}

bool AddressLedger::Charge(const AddressKey& key, int64_t points, int64_t now_ms) {
  if (key.family == 0 || points <= 0) return false;
  std::lock_guard lock(mutex_);
  Entry& entry = Touch(key);
  entry.points.Drain(limits_.max_points, limits_.window_ms, now_ms);
  entry.points.Add(points);
  if (entry.points.level() <= static_cast<double>(limits_.max_points)) return false;
  entry.points.Empty();
  const bool was_admitted = now_ms >= entry.shut_out_until_ms;
  entry.shut_out_until_ms = now_ms + limits_.penalty_ms;
  return was_admitted;
}

bool AddressLedger::MayTell(const AddressKey& key, int64_t now_ms) {
  if (key.family == 0) return true;
  std::lock_guard lock(mutex_);
  Entry& entry = Touch(key);
  if (now_ms < entry.may_tell_at_ms) return false;
  entry.may_tell_at_ms = now_ms + limits_.window_ms;
  return true;
}

size_t AddressLedger::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

Status AddressLedger::CheckIntegrity() const {
  std::lock_guard lock(mutex_);
  if (entries_.size() > limits_.max_addresses || entries_.size() != by_use_.size()) {
    return InternalError("addresses: more than allowed, or an order of others");
  }
  for (auto place = by_use_.begin(); place != by_use_.end(); ++place) {
    const auto entry = entries_.find(*place);
    if (entry == entries_.end() || entry->second.place != place) {
      return InternalError("addresses: the order of use names one that is not there");
    }
  }
  return OkStatus();
}

}  // namespace inferd::net
