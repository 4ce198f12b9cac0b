// Ranks that are processes, each with an emulated device, which exchange over the NCCL of
// the tests' own: a group that breaks is made anew, and texts go on. This program is also
// the rank.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "backends/cuda/emulated_group.h"
#include "engine/recording_sink.h"
#include "inferd/engine/engine.h"
#include "runtime/rank_program.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

constexpr int32_t kSlots = 4;

RankOptions OptionsOf(const std::string& family) {
  RankOptions options = EmulatedRankOptions(family, kSlots);
  options.memory.num_blocks = 40;
  options.devices.connect_timeout_us = 60'000'000;
  options.devices.step_timeout_us = 12'000'000;
  options.devices.abort_timeout_us = 500'000;
  return options;
}

struct Trouble {
  std::string name;
  std::string plan;  // of the shim, once
  std::string says;  // in the log
};

class NcclProcessTest : public ::testing::TestWithParam<Trouble> {};

TEST_P(NcclProcessTest, TheGroupIsMadeAnewAndTextsGoOn) {
  const std::string family = "llama3";
  constexpr int32_t kNew = 8;
  const std::filesystem::path once =
      std::filesystem::temp_directory_path() / ("nccl-shim-" + std::to_string(getpid()));
  std::filesystem::remove(once);
  // Only the ranks read it. Whoever comes second does nothing of it.
  std::string words = GetParam().plan;
  const size_t at = words.find("ONCE");
  if (at != std::string::npos) words.replace(at, 4, "once=" + once.string());
  ASSERT_EQ(setenv("NCCL_SHIM", words.c_str(), 1), 0);

  ResetFakeCuda();
  std::ostringstream log;
  auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  SystemClock clock;
  SystemEntropy entropy;
  RecordingSink sink;
  std::unique_ptr<LocalExecutor> executor;
  std::unique_ptr<Engine> engine;
  ProcessExecutorOptions options = ThisProgramAsRanks({2, 1, 1}, family);
  options.first_backoff_us = 10'000;
  options.last_backoff_us = 50'000;
  {
    auto backend = MakeCudaBackend({});
    ASSERT_TRUE(backend.ok());
    auto infos = PlanGroup(OptionsOf(family), options.shape, (*backend)->ops(), nullptr);
    ASSERT_TRUE(infos.ok()) << infos.status().ToString();
    auto started = StartProcessExecutor(options, *infos, entropy, clock, logger);
    ASSERT_TRUE(started.ok()) << started.status().ToString() << log.str();
    executor = std::move(*started);
  }
  EngineOptions engine_options;
  engine_options.num_blocks = 40;
  engine_options.block_size = 16;
  engine_options.max_running = kSlots;
  engine_options.max_batched_tokens = 96;
  engine_options.max_model_len = 256;
  engine_options.step_timeout_us = 60'000'000;
  engine = StartEngine(engine_options, *executor, sink, clock, entropy, logger);

  const auto expected = ReadExpected(GoldenDir(family));
  const size_t count = std::min<size_t>(2, expected.size());
  for (size_t i = 0; i < count; ++i) {
    RequestSpec spec;
    spec.id = i + 1;
    spec.prompt = expected[i].ids;
    spec.sampling.temperature = 0.0F;
    spec.stop.max_new_tokens = kNew;
    ASSERT_TRUE(engine->Submit(std::move(spec)).ok());
  }
  for (size_t i = 0; i < count; ++i) {
    const auto events = sink.WaitForEnd(i + 1);
    std::vector<TokenId> tokens;
    for (const TokenEvent& event : events) tokens.push_back(event.token);
    EXPECT_EQ(tokens,
              std::vector<TokenId>(expected[i].greedy.begin(), expected[i].greedy.begin() + kNew));
  }
  const bool trouble = !GetParam().says.empty();
  EXPECT_EQ(engine->Stats().rank_losses, trouble ? 1U : 0U);
  engine.reset();
  executor.reset();
  logger->flush();
  EXPECT_NE(log.str().find(GetParam().says), std::string::npos) << log.str();
  (void)unsetenv("NCCL_SHIM");
  std::filesystem::remove(once);
}

// A warm-up has six collectives, a step of decoding as many.
INSTANTIATE_TEST_SUITE_P(
    All, NcclProcessTest,
    ::testing::Values(Trouble{"None", "", ""},
                      Trouble{"RemoteError", "rank=1,ONCE,error=20", "remote process exited"},
                      Trouble{"HangThatIsAborted", "rank=1,ONCE,hang=20",
                              "has waited for other ranks for"},
                      Trouble{"HangThatIsNot", "rank=0,ONCE,hang=20,abort=hangs",
                              "has waited for other ranks for"}),
    [](const ::testing::TestParamInfo<Trouble>& p) { return p.param.name; });

// The payload is the family.
int Main(int argc, char** argv) {
  std::unique_ptr<Backend> backend;
  const RankLoader load = [&backend](const RankProcess& process, const RankLinks& links,
                                     const Clock& clock) -> StatusOr<std::unique_ptr<Rank>> {
    ResetFakeCuda();
    SetFakeDevices(process.place().shape.ranks());
    BackendOptions options;
    options.device = process.place().world_rank();
    INFERD_ASSIGN_OR_RETURN(backend, MakeCudaBackend(options));
    return LoadRank(OptionsOf(process.payload()), process.place(), links, backend->ops(), clock,
                    nullptr);
  };
  return RunTestsOrRank(argc, argv, load);
}

}  // namespace
}  // namespace inferd::testing

int main(int argc, char** argv) { return inferd::testing::Main(argc, argv); }
