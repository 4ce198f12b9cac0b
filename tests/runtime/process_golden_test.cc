// Checkpoints of every family, split over ranks that are processes: of one host, over shared
// memory, and of two, over TCP. The text is that of transformers. This program is also the rank.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "golden_files.h"
#include "inferd/base/unique_fd.h"
#include "inferd/runtime/process_executor.h"
#include "inferd/runtime/rank_process.h"
#include "inferd/runtime/remote_worker.h"
#include "plan_driver.h"
#include "rank_group.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

constexpr const char* kVersion = "test 1";
constexpr int32_t kSlots = 4;
constexpr int32_t kBlockSize = 16;
constexpr int32_t kBlocks = 60;

RankOptions OptionsOf(const std::string& family) {
  RankOptions options;
  options.model_dir = GoldenDir(family);
  options.memory.max_running = kSlots;
  options.memory.max_batched_tokens = 256;
  options.memory.block_size = kBlockSize;
  options.memory.num_blocks = kBlocks;
  options.memory.kv_dtype = DType::kF32;
  options.max_in_flight = 4;
  options.compare_tokens = true;
  return options;
}

// What `inferd rank` does. The payload is the family.
int RunRank(int control_fd) {
  SystemClock clock;
  SystemEntropy entropy;
  auto process = RankProcess::Join(control_fd, kVersion, entropy, clock);
  if (!process.ok()) return 1;
  const std::unique_ptr<Backend> backend = MakeTestBackend("cpu", /*threads=*/1);
  const Status status = (*process)->Run([&](const RankPlace& place, const RankLinks& links) {
    return LoadRank(OptionsOf((*process)->payload()), place, links, backend->ops(), clock, nullptr);
  });
  if (!status.ok()) {
    std::fprintf(stderr, "E|%s\n", status.ToString().c_str());
    std::_Exit(70);
  }
  process->reset();
  return 0;
}

// The ranks of the second host, which is this one at another address.
class SecondHost {
 public:
  explicit SecondHost(const ProcessExecutorOptions& options)
      : stop_(eventfd(0, EFD_CLOEXEC)), options_(OptionsFor(options)), thread_([this] {
          EXPECT_TRUE(RunRemoteRanks(options_, stop_.get(), clock_, nullptr).ok());
        }) {}
  ~SecondHost() {
    const uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    thread_.join();
  }
  // Loopback has addresses for every process.
  static std::string Address(int host) {
    return "127." + std::to_string(1 + getpid() / 250 % 250) + "." +
           std::to_string(1 + getpid() % 250) + "." + std::to_string(host);
  }

 private:
  static RemoteWorkerOptions OptionsFor(const ProcessExecutorOptions& leader) {
    RemoteWorkerOptions options;
    options.command = leader.command;
    options.remote = leader.remote;
    options.shape = leader.shape;
    options.own_host = Address(2);
    return options;
  }

  const SystemClock clock_;
  const UniqueFd stop_;
  const RemoteWorkerOptions options_;
  std::thread thread_;  // last
};

using Param = std::tuple<std::string, ParallelShape, int>;

class ProcessGoldenTest : public ::testing::TestWithParam<Param> {};

TEST_P(ProcessGoldenTest, TextIsThatOfTransformers) {
  const auto& [family, shape, hosts] = GetParam();
  std::ostringstream log;
  const auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  const SystemClock clock;
  SystemEntropy entropy;
  const std::unique_ptr<Backend> backend = MakeTestBackend("cpu", /*threads=*/1);
  const auto infos = PlanGroup(OptionsOf(family), shape, backend->ops(), nullptr);
  if (IsRefused(family, shape)) {
    EXPECT_EQ(infos.status().code(), StatusCode::kFailedPrecondition);
    return;
  }
  ASSERT_TRUE(infos.ok()) << infos.status().ToString();
  ProcessExecutorOptions options;
  options.shape = shape;
  options.max_in_flight = shape.pp + 1;
  options.command = {"/proc/self/exe", "rank"};
  options.version = kVersion;
  options.payload = family;
  std::unique_ptr<SecondHost> second;
  if (hosts == 2) {
    options.remote.num_hosts = 2;
    options.remote.leader = SecondHost::Address(1);
    options.remote.port = 20'000;
    options.remote.key = "a key of sixteen bytes or more";
    second = std::make_unique<SecondHost>(options);
  }
  auto executor = StartProcessExecutor(options, *infos, entropy, clock, logger);
  ASSERT_TRUE(executor.ok()) << executor.status().ToString() << log.str();

  PlanDriver driver(**executor, kSlots, kBlockSize, kBlocks);
  driver.carry_tokens = shape.pp > 1;
  driver.max_entries = shape.pp > 1 ? 2 : 1024;
  const std::vector<ExpectedPrompt> expected = ReadExpected(GoldenDir(family));
  const int32_t max_new = std::min<int32_t>(24, static_cast<int32_t>(expected[0].greedy.size()));
  std::vector<DrivenPrompt> prompts(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    prompts[i].prompt = expected[i].ids;
    prompts[i].sampling.temperature = 0.0F;
    prompts[i].max_new = max_new;
  }
  const std::vector<DrivenResult> results = driver.Run(prompts, 19, options.max_in_flight);
  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<TokenId> greedy(expected[i].greedy.begin(),
                                      expected[i].greedy.begin() + max_new);
    EXPECT_EQ(results[i].tokens, greedy) << "prompt " << i;
  }
}

std::string NameOf(const ::testing::TestParamInfo<Param>& p) {
  return std::get<0>(p.param) + "_" + ShapeName(std::get<1>(p.param)) +
         (std::get<2>(p.param) == 2 ? "_two_hosts" : "");
}

INSTANTIATE_TEST_SUITE_P(Processes, ProcessGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::ValuesIn(GoldenShapes()),
                                            ::testing::Values(1)),
                         NameOf);
// Ranks are shared out evenly.
INSTANTIATE_TEST_SUITE_P(
    Hosts, ProcessGoldenTest,
    ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                       ::testing::Values(ParallelShape{2, 1, 1}, ParallelShape{4, 1, 1},
                                         ParallelShape{1, 1, 2}, ParallelShape{2, 1, 2},
                                         ParallelShape{2, 2, 1}),
                       ::testing::Values(2)),
    NameOf);

}  // namespace
}  // namespace inferd::testing

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "rank") {
    return inferd::testing::RunRank(std::atoi(argv[2]));
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
