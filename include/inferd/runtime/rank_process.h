// The process of one rank, as StartProcessExecutor runs it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "inferd/base/clock.h"
#include "inferd/base/random.h"
#include "inferd/base/status.h"
#include "inferd/model/parallel.h"
#include "inferd/runtime/rank.h"

namespace inferd {

// One thread. It is all such a process does.
class RankProcess {
 public:
  virtual ~RankProcess() = default;

  // Takes the control socket that the process inherited, sees to it that the process
  // dies with its parent, and hears which rank it is. To be called before there are
  // other threads. FAILED_PRECONDITION when the engine is of another `version`.
  static StatusOr<std::unique_ptr<RankProcess>> Join(int control_fd, const std::string& version,
                                                     EntropySource& entropy, const Clock& clock);

  virtual const RankPlace& place() const = 0;
  // ProcessExecutorOptions::payload.
  virtual const std::string& payload() const = 0;

  // Loads the rank and runs plans until the engine lets go of it: OK. An error is told
  // to the engine too; the process must end then, as its state is unknown.
  using Loader = std::function<StatusOr<std::unique_ptr<Rank>>(const RankPlace& place,
                                                               const RankLinks& links)>;
  virtual Status Run(const Loader& load) = 0;
};

}  // namespace inferd
