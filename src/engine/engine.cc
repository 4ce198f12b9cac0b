#include "inferd/engine/engine.h"

#include <thread>
#include <utility>

#include "engine/engine_core.h"
#include "inferd/base/check.h"

namespace inferd {
namespace {

// The engine thread around the core.
class EngineLoop final : public Engine {
 public:
  EngineLoop(const EngineOptions& options, Executor& executor, OutputSink& sink, const Clock& clock,
             const HashKey& key, std::shared_ptr<spdlog::logger> logger)
      : executor_(executor), core_(options, executor, sink, clock, key, std::move(logger)) {
    executor_.SetWake([this] { core_.inbox().Wake(); });
    core_.inbox().Wake();  // for what happened to the ranks before
    thread_ = std::thread([this] { Run(); });
  }

  ~EngineLoop() override {
    core_.inbox().Stop();
    thread_.join();
    executor_.SetWake(nullptr);
  }

  Status Submit(RequestSpec spec) override { return core_.inbox().Submit(std::move(spec)); }
  void CancelRequest(RequestId id) override { core_.inbox().Cancel(id); }
  void FinishChoice(RequestId id, int32_t choice) override {
    core_.inbox().FinishChoice(id, choice);
  }
  void SetQueueLimits(const QueueLimits& limits) override { core_.inbox().SetLimits(limits); }
  EngineStats Stats() const override { return core_.Stats(); }

 private:
  void Run() {
    InboxBatch batch;
    while (core_.inbox().Drain(core_.WhatToWaitFor(), batch)) {
      core_.Handle(batch);
      core_.Turn();
    }
    core_.Handle(batch);
    core_.Stop();
  }

  Executor& executor_;
  EngineCore core_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Engine> StartEngine(const EngineOptions& options, Executor& executor,
                                    OutputSink& sink, const Clock& clock, EntropySource& entropy,
                                    std::shared_ptr<spdlog::logger> logger) {
  INFERD_CHECK(ValidateEngineOptions(options).ok());
  const HashKey key{entropy.Next64(), entropy.Next64()};
  return std::make_unique<EngineLoop>(options, executor, sink, clock, key, std::move(logger));
}

}  // namespace inferd
