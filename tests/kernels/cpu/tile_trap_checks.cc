// What every GoogleTest program over trapped tiles checks besides its own tests.
#include <gtest/gtest.h>

#include <cstdio>

#include "cpu/linear_bf16.h"
#include "cpu/linear_int.h"
#include "cpu/tile_unit.h"
#include "inferd/backends/backend.h"
#include "kernels/cpu/tile_trap.h"

namespace inferd::testing {
namespace {

class Listener final : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    EXPECT_EQ(ThreadsWithTiles(), 0) << test.name() << " left tiles configured";
  }
  void OnTestProgramEnd(const ::testing::UnitTest& /*unused*/) override {
    if (!TilesAreTrapped()) return;
    std::printf("    trapped:");
    for (int i = 0; i < kTileOpcodes; ++i) {
      const auto opcode = static_cast<TileOpcode>(i);
      if (const uint64_t count = TrappedInstructions(opcode); count > 0) {
        std::printf(" %llu %s", static_cast<unsigned long long>(count), TileOpcodeName(opcode));
      }
    }
    std::printf("\n");
  }
};

const bool listening = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new Listener);
  return true;
}();

// The checks at the start find nothing wrong, and so the other tests are of tiles.
TEST(TileTrapTest, TheChecksAtTheStartPassAndTheBackendChoosesTiles) {
  EXPECT_EQ(kernels::Bf16UnitRuns(kernels::Bf16Unit::kTiles), kernels::AmxBf16Runs());
  EXPECT_EQ(kernels::IntTilesAgree(), kernels::AmxInt8Runs());
  BackendOptions options;
  options.threads = 1;
  options.activations = Activations::kBF16;
  const auto backend = CreateBackend("cpu", options);
  ASSERT_TRUE(backend.ok()) << backend.status().ToString();
  const std::string text = (*backend)->Description();
  EXPECT_EQ(text.find("bf16 by AMX") != std::string::npos, kernels::AmxBf16Runs()) << text;
  EXPECT_EQ(text.find("products by AMX and") != std::string::npos, kernels::AmxInt8Runs()) << text;
  EXPECT_TRUE(TilesAreTrapped() || kernels::AmxBf16Runs() || kernels::AmxInt8Runs());
}

}  // namespace
}  // namespace inferd::testing
