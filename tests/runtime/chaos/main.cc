// The tests, or, as their ranks' command says, one rank of them.
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "runtime/chaos/stage.h"

#if defined(__SANITIZE_THREAD__)
// A rank whose engine is gone ends in the midst of its threads: with its own exit code.
extern "C" const char* __tsan_default_options() { return "report_thread_leaks=0"; }
#endif

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "rank") {
    return inferd::testing::RunStagedRank(argv[2], std::atoi(argv[3]));
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
