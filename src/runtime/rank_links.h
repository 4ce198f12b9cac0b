#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/unique_fd.h"
#include "inferd/comm/communicator.h"
#include "runtime/rank_messages.h"

namespace inferd::runtime {

// The groups that one rank's process belongs to. Owns its ends.
class ProcessLinks {
 public:
  // Joins every group of `setup.place`, in the order of RankLinks, and waits for the
  // others of each. `segments`: of the groups in shared memory; the rest is over TCP,
  // among those who have `key`.
  static StatusOr<ProcessLinks> Join(const RankSetup& setup, const std::string& key,
                                     const std::array<UniqueFd, kNumLinks>& segments,
                                     EntropySource& entropy, const Clock& clock);

  const RankLinks& links() const { return links_; }
  void Abort();

 private:
  std::vector<std::unique_ptr<Communicator>> ends_;
  RankLinks links_;
};

}  // namespace inferd::runtime
