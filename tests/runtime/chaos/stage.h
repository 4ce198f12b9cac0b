// Where a rank is in its life, told by what it is handed (clock, links, ops) and struck there.
#pragma once

#include <cstdint>
#include <memory>

#include "inferd/base/clock.h"
#include "inferd/comm/communicator_decorator.h"
#include "inferd/runtime/rank.h"
#include "runtime/chaos/scene.h"
#include "runtime/tap_ops.h"

namespace inferd::testing {

// One process's view of the scene. The rank's thread, but for Exchange, which the thread that
// sends hidden states calls too.
class Stage {
 public:
  explicit Stage(Scene& scene) : scene_(scene) {}

  // The process has begun; the version of the program that it is to say.
  const char* Start(const char* version);
  // Of each reading of the clock, by whatever part of the program.
  void OnClock();
  void OnPack() { Pass(Phase::kLoading, packed_++); }
  void OnAttention(int layers);

  void Joined(const RankPlace& place);  // it belongs to its groups
  void BeginWarmUp();
  void EndWarmUp() { moment_ = Moment::kWaiting; }
  void BeginPlan(const BatchPlan& plan);
  void EndPlan();
  // The engine has let go of it, or the rank has failed.
  void Stop() { Pass(Phase::kStop, 0); }

  // One call on a link, around `call`. `receives`: it waits for the other side.
  template <typename Call>
  Status Exchange(bool sums, bool receives, int* calls, const Call& call) {
    if (begun_ == 0) return call();  // of the warm-up
    const int nth = (*calls)++;
    const auto [before, within, after] =
        sums ? Phases{Phase::kBeforeSum, Phase::kInSum, Phase::kAfterSum}
             : Phases{Phase::kBeforeHandOver, Phase::kInHandOver, Phase::kAfterHandOver};
    if (sums || !receives) Pass(before, nth);
    if (sums || !receives) LetOthersWait(within, nth);
    const Moment moment = moment_;
    if (sums || receives) {
      moment_ = Moment::kExchanging;
      within_ = within;
      exchange_ = nth;
      looks_ = 0;
    }
    const Status status = call();
    if (sums || receives) {
      moment_ = moment;
      if (status.ok()) Pass(after, nth);
    }
    return status;
  }

 private:
  enum class Moment : uint8_t {
    kJoining,
    kWarmingUp,
    kWaiting,  // for the engine, or between its messages
    kComputing,
    kExchanging,
    kSending,  // the result
    kSent,
  };
  struct Phases {
    Phase before, within, after;
  };

  void Pass(Phase phase, int nth);
  // Where the scene strikes a rank that waits for this one, it does not come before.
  void LetOthersWait(Phase within, int nth) const;
  bool IsAmongOthers() const;
  void Suffer(Fault fault);
  void ShutDown(bool engine) const;

  Scene& scene_;
  int rank_ = -1;
  int tp_ = 1;
  Moment moment_ = Moment::kJoining;
  Phase within_ = Phase::kInSum;
  int exchange_ = 0;
  int looks_ = 0;
  bool has_prompts_ = false;
  int attention_ = 0;
  int packed_ = 0;
  int begun_ = 0;  // plans
  int prefills_ = 0;
  int decodes_ = 0;
  int results_ = 0;
  bool version_is_wrong_ = false;
};

class StagedClock final : public Clock {
 public:
  explicit StagedClock(Stage& stage) : stage_(stage) {}
  int64_t NowUs() const override {
    stage_.OnClock();
    return clock_.NowUs();
  }
  int64_t NowNs() const override { return clock_.NowNs(); }
  int64_t UnixUs() const override { return clock_.UnixUs(); }

 private:
  Stage& stage_;
  const SystemClock clock_;
};

class StagedOps final : public TapOps {
 public:
  StagedOps(Ops& inner, Stage& stage) : TapOps(inner), stage_(stage) {}
  void SetLayers(int layers) { layers_ = layers; }

  StatusOr<LinearWeight> Pack(std::span<const RawLinear> parts,
                              std::span<const TensorView> bias) override {
    stage_.OnPack();
    return TapOps::Pack(parts, bias);
  }
  void Attention(const StepPlan& plan, TensorView qkv, int32_t num_q_heads, const KvLayerView& kv,
                 float scale, TensorView out) override {
    stage_.OnAttention(layers_);
    TapOps::Attention(plan, qkv, num_q_heads, kv, scale, out);
  }

 private:
  Stage& stage_;
  int layers_ = 1;
};

// A rank's links, each with the stage around its calls.
class StagedLinks {
 public:
  StagedLinks(const RankLinks& links, Stage& stage);
  ~StagedLinks();
  const RankLinks& links() const { return links_; }

 private:
  std::vector<std::unique_ptr<Communicator>> own_;
  RankLinks links_;
};

class StagedRank final : public Rank {
 public:
  StagedRank(std::unique_ptr<StagedLinks> links, std::unique_ptr<Rank> inner, Stage& stage)
      : links_(std::move(links)), inner_(std::move(inner)), stage_(stage) {}

  void Begin(const BatchPlan& plan) override {
    stage_.BeginPlan(plan);
    inner_->Begin(plan);
  }
  StepResult End() override {
    StepResult result = inner_->End();
    stage_.EndPlan();
    return result;
  }
  bool IsDone() override { return inner_->IsDone(); }
  int MaxSteps() const override { return inner_->MaxSteps(); }
  bool Tend() override { return inner_->Tend(); }
  Status WarmUp() override {
    stage_.BeginWarmUp();
    const Status status = inner_->WarmUp();
    stage_.EndWarmUp();
    return status;
  }
  const RankInfo& info() const override { return inner_->info(); }

 private:
  const std::unique_ptr<StagedLinks> links_;  // outlives the rank
  const std::unique_ptr<Rank> inner_;
  Stage& stage_;
};

// What `inferd rank` does, with the checkpoint of tests/golden that the payload names, on the
// scene at `path`. The exit code.
int RunStagedRank(const std::string& path, int control_fd);

// Of the checkpoint `family`, for the ranks and for who plans them.
RankOptions StagedOptions(const std::string& family);

inline constexpr const char* kStagedVersion = "test 1";

}  // namespace inferd::testing
