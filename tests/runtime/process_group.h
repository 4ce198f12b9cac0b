// A checkpoint split over ranks that are processes of the test's own program, on one host or on
// several, with a tap on the logits of each.
#pragma once

#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "comm/test_network.h"
#include "inferd/runtime/process_executor.h"
#include "plan_driver.h"
#include "rank_program.h"
#include "remote_host.h"
#include "split_golden.h"
#include "tiny_checkpoint.h"

namespace inferd::testing {

// Several hosts are this one at several addresses, unless there is a network.
class ProcessGroup {
 public:
  ProcessGroup(const std::filesystem::path& dir, const ParallelShape& shape, int hosts,
               const TestNetwork* network = nullptr);

  Status Start();
  // Null unless all have started.
  PlanDriver* driver() { return driver_.get(); }
  int max_in_flight() const { return options_.max_in_flight; }
  // Of a rank of the last stage, while no plan is in flight.
  Logits ReadLogits(int tp_rank) const;
  std::string log() const { return log_.str(); }

  // The main of a program that has such groups.
  static int Main(int argc, char** argv);

 private:
  std::string Address(int host) const;

  const std::filesystem::path dir_;
  const TestNetwork* const network_;
  const TempDir logits_;  // a file of each rank
  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> logger_;
  const SystemClock clock_{};
  SystemEntropy entropy_;
  ProcessExecutorOptions options_;
  std::unique_ptr<OnHost> leader_;
  std::vector<std::unique_ptr<RemoteHost>> others_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<PlanDriver> driver_;
};

// Splits the family, and compares the texts and the logits of all ranks with those of one rank, and
// the logits bit for bit with those of as many ranks in threads. `seconds`, which may be null:
// from the first plan to the last result.
void ExpectAnswersOfOneRank(const std::string& family, const ParallelShape& shape, int hosts,
                            const TestNetwork* network, double* seconds);

}  // namespace inferd::testing
