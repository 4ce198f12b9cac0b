// What `inferd rank` does, for tests whose own program is the process of a rank as well.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/runtime/rank_process.h"

namespace inferd::testing {

inline constexpr const char* kRankVersion = "test 1";

// For an executor whose ranks are this program.
inline ProcessExecutorOptions ThisProgramAsRanks(const ParallelShape& shape, std::string payload) {
  ProcessExecutorOptions options;
  options.shape = shape;
  options.max_in_flight = shape.pp + 1;
  options.command = {"/proc/self/exe", "rank"};
  options.version = kRankVersion;
  options.payload = std::move(payload);
  return options;
}

// Loads the rank that the process is. What it captures outlives the rank.
using RankLoader = std::function<StatusOr<std::unique_ptr<Rank>>(
    const RankProcess& process, const RankLinks& links, const Clock& clock)>;

inline int RunRank(int control_fd, const RankLoader& load) {
  SystemClock clock;
  SystemEntropy entropy;
  auto process = RankProcess::Join(control_fd, kRankVersion, entropy, clock);
  if (!process.ok()) {
    std::fprintf(stderr, "E|%s\n", process.status().ToString().c_str());
    return 1;
  }
  const Status status = (*process)->Run([&](const RankPlace& /*place*/, const RankLinks& links) {
    return load(**process, links, clock);
  });
  if (!status.ok()) {
    // The end of the process may be seen before what it said last.
    std::fprintf(stderr, "E|%s\n", status.ToString().c_str());
    std::_Exit(70);
  }
  return 0;
}

// The whole of such a program's main.
inline int RunTestsOrRank(int argc, char** argv, const RankLoader& load) {
  if (argc == 3 && std::string_view(argv[1]) == "rank") return RunRank(std::atoi(argv[2]), load);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace inferd::testing
