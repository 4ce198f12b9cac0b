#include "runtime/chaos/chaos_run.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <thread>

#include "runtime/chaos/stage.h"
#include "runtime/golden_files.h"
#include "spdlog/sinks/ostream_sink.h"

namespace inferd::testing {
namespace {

constexpr const char* kFamily = "llama2";
constexpr int64_t kPatienceUs = 60'000'000;

const std::vector<ExpectedPrompt>& Prompts() {
  static const std::vector<ExpectedPrompt> prompts = ReadExpected(GoldenDir(kFamily));
  return prompts;
}

// Stream `i` of every wave: all but the last two are greedy.
RequestSpec SpecOf(RequestId id, int i) {
  RequestSpec spec;
  spec.id = id;
  spec.prompt = Prompts()[static_cast<size_t>(i) % Prompts().size()].ids;
  spec.sampling.temperature = i < kStreamsPerWave - 2 ? 0.0F : 1.0F;
  spec.sampling.seed = static_cast<uint64_t>(1000 + i);
  spec.stop.max_new_tokens = 24 + 4 * i;
  return spec;
}

void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

}  // namespace

std::string NameOf(const ParallelShape& shape) {
  std::string name = shape.tp() > 1 ? "tp" + std::to_string(shape.tp()) : "";
  if (shape.pp > 1) name += "pp" + std::to_string(shape.pp);
  return name.empty() ? "one" : name;
}

// Counts plans, and holds a result back that the scene wants unread.
class ChaosRun::StagedExecutor final : public Executor {
 public:
  StagedExecutor(LocalExecutor& inner, Scene& scene) : inner_(inner), scene_(scene) {}

  void Submit(std::shared_ptr<const BatchPlan> plan) override {
    inner_.Submit(std::move(plan));
    scene_.plans.fetch_add(1);
  }
  StepResult Await() override {
    const Strike* const strike = scene_.Next(Phase::kResultSent);
    const bool hold = strike != nullptr && strike->nth == results_;
    const int64_t end_us = clock_.NowUs() + kPatienceUs;
    while (hold && scene_.Next(Phase::kResultSent) == strike && clock_.NowUs() < end_us) Pause();
    ++results_;
    return inner_.Await();
  }
  int max_in_flight() const override { return inner_.max_in_flight(); }
  ExecutorState state() const override { return inner_.state(); }
  bool Reset() override {
    results_ = 0;
    scene_.plans = 0;
    return inner_.Reset();
  }
  bool LimitStep(int64_t limit_us) override { return inner_.LimitStep(limit_us); }
  void SetWake(std::function<void()> wake) override { inner_.SetWake(std::move(wake)); }

 private:
  LocalExecutor& inner_;
  Scene& scene_;
  const SystemClock clock_;
  int results_ = 0;
};

ChaosRun::ChaosRun(const ParallelShape& shape)
    : over_([this] { return scene_->over(); }),
      struck_us_([this] {
        return scene_->num_strikes == 0 ? 0 : scene_->struck_us[scene_->num_strikes - 1].load();
      }),
      logger_(std::make_shared<spdlog::logger>(
          "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_))) {
  options_.shape = shape;
  options_.max_in_flight = shape.pp + 1;
  options_.command = {"/proc/self/exe", "rank", scene_.path()};
  options_.version = kStagedVersion;
  options_.payload = kFamily;
  options_.first_backoff_us = 10'000;
  options_.last_backoff_us = 50'000;
  options_.max_failed_starts = 50;
  engine_options_.max_rank_losses = 50;
  engine_options_.step_timeout_us = 300'000;
}

ChaosRun::~ChaosRun() = default;

Status ChaosRun::Start() {
  const RankOptions rank = StagedOptions(kFamily);
  const std::unique_ptr<Backend> backend = MakeTestBackend("cpu", /*threads=*/1);
  INFERD_ASSIGN_OR_RETURN(const std::vector<RankInfo> infos,
                          PlanGroup(rank, options_.shape, backend->ops(), nullptr));
  INFERD_ASSIGN_OR_RETURN(executor_,
                          StartProcessExecutor(options_, infos, entropy_, clock_, logger_));
  staged_ = std::make_unique<StagedExecutor>(*executor_, *scene_);
  engine_options_.num_blocks = infos[0].memory.num_blocks;
  engine_options_.block_size = rank.memory.block_size;
  engine_options_.max_running = rank.memory.max_running;
  engine_options_.max_batched_tokens = rank.memory.max_batched_tokens;
  engine_options_.max_model_len = infos[0].memory.max_model_len;
  engine_options_.depth = options_.shape.pp + 1;
  engine_options_.micro_batches = options_.shape.pp;
  engine_ = StartEngine(engine_options_, *staged_, sink_, clock_, entropy_, logger_);
  return OkStatus();
}

void ChaosRun::Ask() {
  scene_->idle = false;
  const int64_t end_us = clock_.NowUs() + kPatienceUs;
  for (int i = 0; i < kStreamsPerWave; ++i) {
    Status status = engine_->Submit(SpecOf(next_id_, i));
    while (status.code() == StatusCode::kUnavailable && clock_.NowUs() < end_us) {
      Pause();
      status = engine_->Submit(SpecOf(next_id_, i));
    }
    ASSERT_TRUE(status.ok()) << status.ToString();
    ++next_id_;
  }
}

bool ChaosRun::AwaitCalm(uint64_t losses, const std::function<void()>& meanwhile) {
  const int64_t end_us = clock_.NowUs() + kPatienceUs;
  for (; clock_.NowUs() < end_us; Pause()) {
    if (meanwhile) meanwhile();
    const EngineStats stats = engine_->Stats();
    if (stats.live_requests == 0) scene_->idle = true;
    const bool back =
        scene_->over() && stats.rank_losses >= losses && stats.state == EngineState::kRunning;
    if (back && outcome_.back_after < 0) {
      outcome_.back_after = static_cast<double>(clock_.NowUs() - struck_us_()) * 1e-6;
    }
    if (back && stats.live_requests == 0) return true;
  }
  return false;
}

bool ChaosRun::AwaitStruck(const std::function<void()>& meanwhile) {
  const int64_t end_us = clock_.NowUs() + kPatienceUs;
  for (; clock_.NowUs() < end_us; Pause()) {
    if (meanwhile) meanwhile();
    if (engine_ != nullptr && engine_->Stats().live_requests == 0) scene_->idle = true;
    if (over_()) return true;
  }
  return false;
}

void ChaosRun::End() {
  const EngineStats stats = engine_->Stats();
  outcome_.losses = stats.rank_losses;
  outcome_.resumed = stats.sequences_resumed;
  engine_.reset();
  executor_.reset();
}

void ChaosRun::ExpectOneEnding(RequestId id) {
  const std::vector<TokenEvent> events = sink_.Events(id);
  const auto i = static_cast<size_t>((id - 1) % kStreamsPerWave);
  const std::vector<TokenId>& text = Undisturbed(options_.shape)[i];
  std::vector<TokenId> tokens;
  int endings = 0;
  for (const TokenEvent& event : events) {
    if (event.token >= 0) tokens.push_back(event.token);
    if (event.finish != FinishReason::kNone) ++endings;
  }
  EXPECT_EQ(endings, 1) << "request " << id;
  ASSERT_FALSE(events.empty());
  const FinishReason finish = events.back().finish;
  EXPECT_NE(finish, FinishReason::kNone) << "something follows the end of request " << id;
  // The engine's own end cuts what runs.
  const bool is_cut = finish == FinishReason::kCancelled && engine_ == nullptr;
  EXPECT_TRUE(finish == FinishReason::kLength || is_cut)
      << "request " << id << " ended with reason " << static_cast<int>(finish);
  ASSERT_LE(tokens.size(), text.size());
  if (is_cut) {
    EXPECT_EQ(tokens, std::vector(text.begin(), text.begin() + static_cast<long>(tokens.size())));
  } else {
    EXPECT_EQ(tokens, text) << "request " << id;
  }
  if (endings == 1 && (is_cut || tokens == text)) ++outcome_.whole;
}

void ChaosRun::ExpectNoneLost() {
  outcome_.accepted = static_cast<int>(next_id_) - 1;
  if (engine_ != nullptr) {
    const EngineStats stats = engine_->Stats();
    EXPECT_EQ(stats.live_requests, 0);
    EXPECT_EQ(stats.blocks_used, 0);
    EXPECT_EQ(stats.blocks_total, engine_options_.num_blocks - 1);
    EXPECT_EQ(stats.requests_submitted, static_cast<uint64_t>(outcome_.accepted));
    uint64_t ended = 0;
    for (const uint64_t count : stats.choices_finished) ended += count;
    EXPECT_EQ(ended, stats.requests_submitted);
  }
  outcome_.whole = 0;
  for (RequestId id = 1; id < next_id_; ++id) ExpectOneEnding(id);
  EXPECT_GE(outcome_.whole, 0.99 * outcome_.accepted);
}

std::string ChaosRun::log() {
  logger_->flush();
  return log_.str();
}

std::vector<std::vector<TokenId>> ChaosRun::TextsOfWave(RequestId first) {
  std::vector<std::vector<TokenId>> texts;
  for (RequestId id = first; id < first + kStreamsPerWave; ++id) {
    std::vector<TokenId>& text = texts.emplace_back();
    for (const TokenEvent& event : sink_.WaitForEnd(id)) {
      if (event.token >= 0) text.push_back(event.token);
    }
  }
  return texts;
}

const std::vector<std::vector<TokenId>>& ChaosRun::Undisturbed(const ParallelShape& shape) {
  static std::map<std::string, std::vector<std::vector<TokenId>>> known;
  std::vector<std::vector<TokenId>>& texts = known[NameOf(shape)];
  if (!texts.empty()) return texts;
  ChaosRun run(shape);
  run.engine_options_.step_timeout_us = 60'000'000;
  INFERD_CHECK(run.Start().ok());
  run.Ask();
  texts = run.TextsOfWave(1);
  EXPECT_EQ(run.engine_->Stats().rank_losses, 0U);
  // Those of the greedy streams are known.
  for (size_t i = 0; i + 2 < texts.size(); ++i) {
    const std::vector<TokenId>& greedy = Prompts()[i % Prompts().size()].greedy;
    EXPECT_EQ(texts[i],
              std::vector(greedy.begin(), greedy.begin() + static_cast<long>(texts[i].size())));
  }
  return texts;
}

}  // namespace inferd::testing
