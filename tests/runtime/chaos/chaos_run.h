// One engine, its ranks in processes, and streams that must outlive what happens to the ranks.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "engine/recording_sink.h"
#include "inferd/engine/engine.h"
#include "inferd/runtime/process_executor.h"
#include "runtime/chaos/scene.h"

namespace inferd::testing {

inline constexpr int kStreamsPerWave = 8;

// "one", "tp2", "pp2", "tp2pp2".
std::string NameOf(const ParallelShape& shape);

// What came of a case, for the record.
struct ChaosOutcome {
  int accepted = 0;
  int whole = 0;  // ended once, and with the text of an undisturbed run
  uint64_t losses = 0;
  uint64_t resumed = 0;    // sequences admitted again
  double back_after = -1;  // seconds from the last strike until requests are taken again
};

class ChaosRun {
 public:
  explicit ChaosRun(const ParallelShape& shape);
  ~ChaosRun();

  // Before Start.
  Scene& scene() { return *scene_; }
  ProcessExecutorOptions& options() { return options_; }
  EngineOptions& engine_options() { return engine_options_; }
  const std::shared_ptr<spdlog::logger>& logger() const { return logger_; }

  // What strikes, in place of the scene: whether it is over, and when it struck last.
  void SetStriker(std::function<bool()> over, std::function<int64_t()> struck_us) {
    over_ = std::move(over);
    struck_us_ = std::move(struck_us);
  }

  Status Start();

  // Streams that start now; who is refused because the ranks are restarting asks again.
  void Ask();
  // Until what was asked for has ended, all strikes have happened, and the engine takes
  // requests again after `losses`; `meanwhile` is called every millisecond. False after a minute.
  bool AwaitCalm(uint64_t losses, const std::function<void()>& meanwhile);
  // Until the ended streams leave the ranks idle and all strikes have happened.
  bool AwaitStruck(const std::function<void()>& meanwhile);
  // Ends the engine and the ranks.
  void End();

  // Every accepted request ended once, whole unless the engine's end cut it; no block is lost.
  void ExpectNoneLost();
  ChaosOutcome outcome() const { return outcome_; }
  std::string log();

  Engine& engine() { return *engine_; }

 private:
  class StagedExecutor;

  // The texts of an undisturbed run of the same shape, by stream.
  static const std::vector<std::vector<TokenId>>& Undisturbed(const ParallelShape& shape);
  std::vector<std::vector<TokenId>> TextsOfWave(RequestId first);
  void ExpectOneEnding(RequestId id);

  const SystemClock clock_;
  SystemEntropy entropy_;
  SharedScene scene_;
  std::function<bool()> over_;
  std::function<int64_t()> struck_us_;
  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> logger_;
  ProcessExecutorOptions options_;
  EngineOptions engine_options_;
  RecordingSink sink_;
  std::unique_ptr<LocalExecutor> executor_;
  std::unique_ptr<StagedExecutor> staged_;
  std::unique_ptr<Engine> engine_;
  RequestId next_id_ = 1;
  ChaosOutcome outcome_;
};

}  // namespace inferd::testing
