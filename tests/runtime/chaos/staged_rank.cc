// The process of a rank that is struck, and the parts of it that tell the stage where it is.
#include <cstdio>
#include <utility>

#include "inferd/runtime/rank_process.h"
#include "runtime/chaos/stage.h"
#include "runtime/golden_files.h"

namespace inferd::testing {
namespace {

class StagedLink final : public CommunicatorDecorator {
 public:
  StagedLink(Communicator& inner, bool sums, Stage& stage)
      : CommunicatorDecorator(inner), sums_(sums), stage_(stage) {}

  Status AllReduce(const TensorView& x) override {
    return Exchange(true, [&] { return inner().AllReduce(x); });
  }
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    return Exchange(true, [&] { return inner().AllGather(in, out); });
  }
  Status Send(std::span<const std::byte> data, int to) override {
    return Exchange(false, [&] { return inner().Send(data, to); });
  }
  Status Recv(std::span<std::byte> data, int from) override {
    return Exchange(true, [&] { return inner().Recv(data, from); });
  }

 private:
  template <typename Call>
  Status Exchange(bool receives, const Call& call) {
    return stage_.Exchange(sums_, receives, &calls_, call);
  }

  const bool sums_;
  Stage& stage_;
  int calls_ = 0;
};

}  // namespace

StagedLinks::StagedLinks(const RankLinks& links, Stage& stage) : links_(links) {
  for (Communicator* RankLinks::*link :
       {&RankLinks::tp, &RankLinks::row, &RankLinks::column, &RankLinks::previous, &RankLinks::next,
        &RankLinks::weights, &RankLinks::local, &RankLinks::leaders}) {
    if (links.*link == nullptr) continue;
    const bool sums = link != &RankLinks::previous && link != &RankLinks::next;
    own_.push_back(std::make_unique<StagedLink>(*(links.*link), sums, stage));
    links_.*link = own_.back().get();
  }
}

StagedLinks::~StagedLinks() = default;

RankOptions StagedOptions(const std::string& family) {
  RankOptions options;
  options.model_dir = GoldenDir(family);
  options.memory.max_running = 8;
  options.memory.max_batched_tokens = 64;
  options.memory.block_size = 16;
  options.memory.num_blocks = 100;
  options.memory.kv_dtype = DType::kF32;
  options.max_in_flight = 4;
  options.compare_tokens = true;
  return options;
}

int RunStagedRank(const std::string& path, int control_fd) {
  const SharedScene scene(path);
  Stage stage(*scene);
  const StagedClock clock(stage);
  SystemEntropy entropy;
  const char* const version = stage.Start(kStagedVersion);
  auto process = RankProcess::Join(control_fd, version, entropy, clock);
  if (!process.ok()) {
    std::fprintf(stderr, "E|%s\n", process.status().ToString().c_str());
    return 1;
  }
  stage.Joined((*process)->place());
  const std::unique_ptr<Backend> backend = MakeTestBackend("cpu", /*threads=*/1);
  StagedOps ops(backend->ops(), stage);
  const Status status = (*process)->Run(
      [&](const RankPlace& place, const RankLinks& links) -> StatusOr<std::unique_ptr<Rank>> {
        auto staged = std::make_unique<StagedLinks>(links, stage);
        INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Rank> rank,
                                LoadRank(StagedOptions((*process)->payload()), place,
                                         staged->links(), ops, clock, nullptr));
        ops.SetLayers(rank->info().num_layers);
        return std::unique_ptr<Rank>(
            std::make_unique<StagedRank>(std::move(staged), std::move(rank), stage));
      });
  stage.Stop();
  if (!status.ok()) {
    std::fprintf(stderr, "E|%s\n", status.ToString().c_str());
    std::_Exit(70);
  }
  process->reset();
  return 0;
}

}  // namespace inferd::testing
