#include "sched/waiting_queue.h"

#include <algorithm>
#include <string>

#include "inferd/base/check.h"

namespace inferd {

TenantAccount* WaitingQueue::Join(TenantId tenant) {
  const auto [place, is_new] = accounts_.try_emplace(tenant);
  TenantAccount& account = place->second;
  account.id = tenant;
  if (!is_new && account.requests == 0) idle_.erase({account.served, tenant});
  ++account.requests;
  return &account;
}

void WaitingQueue::Leave(TenantAccount* account) {
  INFERD_CHECK(account->requests > 0);
  if (--account->requests > 0) return;
  // What it was served is kept as long as that says more than newcomers are told.
  idle_.emplace(account->served, account->id);
  Forget();
}

void WaitingQueue::Insert(Sequence& s) {
  ++size_;
  if (s.was_scheduled) {
    resuming_.emplace(s.key, &s);
    return;
  }
  TenantAccount& account = *s.request->account;
  const bool was_empty = account.waiting.empty();
  if (was_empty) account.served = std::max(account.served, floor_);
  account.waiting.emplace(s.key, &s);
  if (account.waiting.begin()->second != &s) return;
  if (!was_empty) Unlist(account);
  List(account);
}

void WaitingQueue::Erase(Sequence& s) {
  --size_;
  if (s.was_scheduled) {
    INFERD_CHECK(resuming_.erase(s.key) == 1);
    return;
  }
  TenantAccount& account = *s.request->account;
  const bool was_first = account.waiting.begin()->second == &s;
  INFERD_CHECK(account.waiting.erase(s.key) == 1);
  if (!was_first) return;
  Unlist(account);
  if (!account.waiting.empty()) {
    List(account);
  } else if (held_ == &account) {
    held_ = nullptr;
  }
}

bool WaitingQueue::Contains(const Sequence& s) const {
  const auto& queue = s.was_scheduled ? resuming_ : s.request->account->waiting;
  const auto place = queue.find(s.key);
  return place != queue.end() && place->second == &s;
}

Sequence* WaitingQueue::Head() {
  const TenantAccount* turn = held_;
  while (turn == nullptr && !order_.empty()) {
    TenantAccount& first = *order_.begin()->second;
    if (first.listed_served == first.served) {
      turn = &first;
    } else {
      Unlist(first);
      List(first);
    }
  }
  Sequence* head = turn == nullptr ? nullptr : turn->waiting.begin()->second;
  if (resuming_.empty()) return head;
  Sequence* resumed = resuming_.begin()->second;
  return head == nullptr || resumed->key < head->key ? resumed : head;
}

void WaitingQueue::Hold(const Sequence& head) {
  if (!head.was_scheduled) held_ = head.request->account;
}

void WaitingQueue::Serve(TenantAccount& account, int64_t cost) {
  account.served += cost;
  if (held_ == &account) held_ = nullptr;
  if (account.served <= floor_) return;
  floor_ = account.served;
  Forget();
}

void WaitingQueue::Unlist(const TenantAccount& account) {
  INFERD_CHECK(order_.erase({account.listed_served, account.listed_key}) == 1);
}

void WaitingQueue::List(TenantAccount& account) {
  account.listed_served = account.served;
  account.listed_key = account.waiting.begin()->first;
  order_.emplace(Standing{account.listed_served, account.listed_key}, &account);
}

void WaitingQueue::Forget() {
  while (!idle_.empty() && (idle_.begin()->first <= floor_ || idle_.size() > kMaxIdle)) {
    accounts_.erase(idle_.begin()->second);
    idle_.erase(idle_.begin());
  }
}

Status WaitingQueue::CheckIntegrity() const {
  const auto broken = [](const TenantAccount& account, const char* what) {
    return InternalError("waiting queue: tenant " + std::to_string(account.id) + " " + what);
  };
  size_t waiting = resuming_.size(), listed = 0, idle = 0;
  for (const auto& [key, s] : resuming_) {
    if (!s->was_scheduled) return InternalError("waiting queue: a newcomer counts as resumed");
  }
  for (const auto& [id, account] : accounts_) {
    waiting += account.waiting.size();
    for (const auto& [key, s] : account.waiting) {
      if (s->request->account != &account) return broken(account, "has another's sequence");
    }
    if (account.requests == 0) {
      ++idle;
      if (!account.waiting.empty()) return broken(account, "waits without a request");
      if (idle_.count({account.served, id}) == 0) return broken(account, "is kept for nothing");
    }
    if (account.waiting.empty()) continue;
    ++listed;
    const auto place = order_.find({account.listed_served, account.listed_key});
    if (place == order_.end() || place->second != &account) return broken(account, "has no turn");
    if (account.listed_key != account.waiting.begin()->first) {
      return broken(account, "is listed with another than its first");
    }
    if (account.listed_served > account.served) return broken(account, "is listed too late");
  }
  if (waiting != size_) return InternalError("waiting queue: its size is wrong");
  if (listed != order_.size() || idle != idle_.size() || idle > kMaxIdle) {
    return InternalError("waiting queue: a tenant is listed that is elsewhere");
  }
  if (held_ != nullptr && held_->waiting.empty()) {
    return InternalError("waiting queue: a tenant keeps the turn for nobody");
  }
  return OkStatus();
}

}  // namespace inferd
