#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "inferd/base/status.h"
#include "inferd/plan/request_spec.h"
#include "sched/sequence.h"

namespace inferd {

// What one token costs its tenant: a drawn one takes a row of a step of its own and reads
// the whole history, a prompt's shares both with its neighbours.
inline constexpr int64_t kPromptTokenCost = 1;
inline constexpr int64_t kDrawnTokenCost = 2;

// A tenant's account in the waiting queue.
struct TenantAccount {
  TenantId id = 0;
  int64_t served = 0;    // cost of its tokens, and what it let pass while it had no one waiting
  int32_t requests = 0;  // live ones
  std::map<QueueKey, Sequence*> waiting;
  // How it stands in the order of tenants while somebody waits: `served` may have grown
  // since, the key is that of its first.
  int64_t listed_served = 0;
  QueueKey listed_key;
};

// The sequences that wait for a slot and blocks, and whose turn it is: that of the tenant
// that was served least, and of his sequences the first by key. So tenants with enough to
// wait for get equal shares of the tokens, whatever they ask for, and one whose queue was
// empty neither saved up a claim nor waits for the others' backlogs: he begins where the
// tenant stands who was served last. With one tenant the order is that of the keys.
//
// Who was scheduled before (preempted, or lost with the ranks) has been paid for and
// belongs to no tenant's queue: he goes first unless the turn is an older one's.
//
// A tenant whose first did not fit keeps the turn until it does or ends (Hold), so that
// nobody is passed by ever more small ones.
//
// Engine thread only. Everything costs the logarithm of what waits; accounts there are as
// many as tenants with live requests, and kMaxIdle.
class WaitingQueue {
 public:
  static constexpr size_t kMaxIdle = 4096;

  // One more live request of the tenant, and one fewer. The account stays until then.
  TenantAccount* Join(TenantId tenant);
  void Leave(TenantAccount* account);

  void Insert(Sequence& sequence);
  void Erase(Sequence& sequence);
  bool Contains(const Sequence& sequence) const;
  // Whose turn it is; null if nobody waits.
  Sequence* Head();
  // The head did not fit.
  void Hold(const Sequence& head);

  // The tenant's sequence was scheduled first, at this cost.
  void Serve(TenantAccount& account, int64_t cost);
  // What it has cost since.
  static void Charge(TenantAccount& account, int64_t cost) { account.served += cost; }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t num_accounts() const { return accounts_.size(); }

  // Checks the order of tenants, the counts, and that nothing idle is kept for nothing.
  Status CheckIntegrity() const;

 private:
  friend class SchedulerPeer;  // tests break fields through it

  using Standing = std::pair<int64_t, QueueKey>;

  void Unlist(const TenantAccount& account);
  void List(TenantAccount& account);
  void Forget();

  std::map<QueueKey, Sequence*> resuming_;
  std::unordered_map<TenantId, TenantAccount> accounts_;
  std::map<Standing, TenantAccount*> order_;     // those with somebody waiting
  std::set<std::pair<int64_t, TenantId>> idle_;  // (served, id) of those without requests
  const TenantAccount* held_ = nullptr;          // keeps the turn
  int64_t floor_ = 0;  // where the tenant stood who was served last, as far as it grew
  size_t size_ = 0;
};

}  // namespace inferd
