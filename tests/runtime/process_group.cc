#include "process_group.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <span>
#include <utility>

#include "rank_group.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

constexpr int32_t kBlocks = 60;

RankOptions OptionsOf(const std::filesystem::path& dir) {
  RankOptions options = GoldenRankOptions();
  options.model_dir = dir;
  options.memory.num_blocks = kBlocks;
  options.max_in_flight = 4;  // three stages need as many
  return options;
}

// Writes what it keeps to a file, before the result of the step is sent.
class FileTapOps final : public TapOps {
 public:
  FileTapOps(Ops& inner, const std::filesystem::path& path)
      : TapOps(inner), file_(path, std::ios::binary | std::ios::trunc) {}

  void Sample(TensorView x, std::span<const SampleRow> rows, std::span<SampleOutput> out) override {
    TapOps::Sample(x, rows, out);
    for (const SampleRow& row : rows) {
      const Key key = {row.seed, row.position};
      const std::vector<float>& values = logits().at(key);
      const uint64_t size = values.size();
      Write(&key.first, sizeof(key.first));
      Write(&key.second, sizeof(key.second));
      Write(&size, sizeof(size));
      Write(values.data(), size * sizeof(float));
    }
    file_.flush();
  }

 private:
  void Write(const void* data, size_t bytes) {
    file_.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  }
  std::ofstream file_;
};

}  // namespace

int ProcessGroup::Main(int argc, char** argv) {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<FileTapOps> tap;
  return RunTestsOrRank(
      argc, argv, [&](const RankProcess& process, const RankLinks& links, const Clock& clock) {
        const std::string& payload = process.payload();  // two folders
        const size_t end = payload.find('\n');
        const std::filesystem::path logits = payload.substr(end + 1);
        backend = MakeTestBackend("cpu", /*threads=*/1);
        tap = std::make_unique<FileTapOps>(backend->ops(),
                                           logits / std::to_string(process.place().world_rank()));
        return LoadRank(OptionsOf(payload.substr(0, end)), process.place(), links, *tap, clock,
                        nullptr);
      });
}

ProcessGroup::ProcessGroup(const std::filesystem::path& dir, const ParallelShape& shape, int hosts,
                           const TestNetwork* network)
    : dir_(dir),
      network_(network),
      logger_(std::make_shared<spdlog::logger>(
          "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_))),
      options_(ThisProgramAsRanks(shape, dir.string() + "\n" + logits_.path().string())) {
  if (hosts > 1) options_.remote = RanksOfHosts(hosts, Address(0));
}

std::string ProcessGroup::Address(int host) const {
  return network_ != nullptr ? TestNetwork::Address(host) : LoopbackAddress(host);
}

Status ProcessGroup::Start() {
  const std::unique_ptr<Backend> backend = MakeTestBackend("cpu", /*threads=*/1);
  INFERD_ASSIGN_OR_RETURN(std::vector<RankInfo> infos,
                          PlanGroup(OptionsOf(dir_), options_.shape, backend->ops(), nullptr));
  if (network_ != nullptr) leader_ = std::make_unique<OnHost>(*network_, 0);
  for (int host = 1; host < options_.remote.num_hosts; ++host) {
    others_.push_back(
        std::make_unique<RemoteHost>(WorkerOf(options_, host, Address(host)), clock_, nullptr,
                                     [network = network_, host]() -> std::shared_ptr<void> {
                                       if (network == nullptr) return nullptr;
                                       return std::make_shared<OnHost>(*network, host);
                                     }));
  }
  INFERD_ASSIGN_OR_RETURN(
      executor_, StartProcessExecutor(options_, std::move(infos), entropy_, clock_, logger_));
  driver_ = std::make_unique<PlanDriver>(*executor_, kGoldenSlots,
                                         GoldenRankOptions().memory.block_size, kBlocks);
  driver_->SetStages(options_.shape.pp);
  return OkStatus();
}

Logits ProcessGroup::ReadLogits(int tp_rank) const {
  const ParallelShape& shape = options_.shape;
  std::ifstream file(logits_.path() / std::to_string((shape.pp - 1) * shape.tp() + tp_rank),
                     std::ios::binary);
  Logits logits;
  const auto read = [&file](void* data, size_t bytes) {
    file.read(static_cast<char*>(data), static_cast<std::streamsize>(bytes));
    return file.good();
  };
  TapOps::Key key;
  uint64_t size = 0;
  while (read(&key.first, sizeof(key.first)) && read(&key.second, sizeof(key.second)) &&
         read(&size, sizeof(size))) {
    std::vector<float>& values = logits[key];
    values.resize(size);
    EXPECT_TRUE(read(values.data(), size * sizeof(float)));
  }
  return logits;
}

void ExpectAnswersOfOneRank(const std::string& family, const ParallelShape& shape, int hosts,
                            const TestNetwork* network, double* seconds) {
  if (IsRefused(family, shape)) {
    EXPECT_EQ(ProcessGroup(GoldenDir(family), shape, hosts, network).Start().code(),
              StatusCode::kFailedPrecondition);
  }
  const std::filesystem::path& dir = SplittableDir(family, shape);
  const std::vector<ExpectedPrompt>& expected = SplittableExpected(family, shape);
  const Answer& one = AnswerInThreads(family, dir, "cpu", ParallelShape{1, 1, 1});
  const Answer& threads = AnswerInThreads(family, dir, "cpu", shape);

  ProcessGroup group(dir, shape, hosts, network);
  const Status started = group.Start();
  ASSERT_TRUE(started.ok()) << started.ToString() << group.log();
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<DrivenResult> results =
      group.driver()->Run(GoldenPrompts(expected, kAnswerTokens), 19, group.max_in_flight());
  if (seconds != nullptr) {
    *seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<TokenId> greedy(expected[i].greedy.begin(),
                                      expected[i].greedy.begin() + kAnswerTokens);
    EXPECT_EQ(results[i].tokens, greedy) << "prompt " << i;
    EXPECT_EQ(results[i].tokens, one.texts[i]) << "prompt " << i;
  }
  float worst = 0;
  for (int r = 0; r < shape.tp(); ++r) {
    const Logits logits = group.ReadLogits(r);
    worst = std::max(worst, LargestDifference(one.logits, logits));
    // Not EXPECT_EQ, which would print them all.
    EXPECT_TRUE(logits == threads.logits)
        << "rank " << r << " of the last stage differs from its like in threads by "
        << LargestDifference(threads.logits, logits);
  }
  std::printf("    %s, %s, %d hosts: largest difference from one rank %.2e\n", family.c_str(),
              ShapeName(shape).c_str(), hosts, static_cast<double>(worst));
  EXPECT_LE(worst, kSplitTolerance);
}

}  // namespace inferd::testing
