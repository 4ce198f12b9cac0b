#include "runtime/thread_executor.h"

#include <pthread.h>

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "inferd/comm/thread_group.h"
#include "runtime/group_timeout.h"
#include "runtime/stage_times.h"
#include "spdlog/spdlog.h"

namespace inferd {
namespace runtime {
namespace {

// Whether a rank says no more than that another one is gone.
bool IsEcho(const Status& status) {
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kAborted;
}

// How often a rank that could take another plan looks whether its oldest is done.
constexpr std::chrono::microseconds kPollInterval{50};

// body(i) for every i below `count`, at the same time; the first that failed. Nobody waits
// for one that has.
Status OnEach(int count, ThreadLinks& links, const std::function<Status(int)>& body) {
  std::vector<Status> results(static_cast<size_t>(count));
  const auto run = [&](int i) {
    Status& result = results[static_cast<size_t>(i)];
    try {
      result = body(i);
    } catch (const std::bad_alloc&) {
      result = ResourceExhaustedError("no memory is left");
    }
    if (!result.ok()) links.Abort();
  };
  std::vector<std::thread> threads;
  Status started;
  try {
    for (int i = 1; i < count; ++i) threads.emplace_back(run, i);
  } catch (const std::system_error& error) {
    started = ResourceExhaustedError(std::string("cannot start threads: ") + error.what());
    links.Abort();
  }
  if (started.ok()) run(0);
  for (std::thread& thread : threads) thread.join();
  INFERD_RETURN_IF_ERROR(started);
  const Status* first = nullptr;
  for (const Status& result : results) {
    if (!result.ok() && (first == nullptr || (IsEcho(*first) && !IsEcho(result)))) first = &result;
  }
  return first == nullptr ? OkStatus() : *first;
}

}  // namespace

StatusOr<ThreadLinks> ThreadLinks::Create(const ParallelShape& shape, const Clock& clock) {
  ThreadLinks all;
  all.links_.resize(static_cast<size_t>(shape.ranks()));
  std::vector<int> ranks;
  const auto connect = [&](int first, int count, int stride, Communicator* RankLinks::*member) {
    ranks.clear();
    for (int i = 0; i < count; ++i) ranks.push_back(first + i * stride);
    return all.Connect(ranks, member, clock);
  };
  const int columns = shape.tp_columns;
  for (int stage = 0; stage < shape.pp; ++stage) {
    const int first = stage * shape.tp();
    INFERD_RETURN_IF_ERROR(connect(first, shape.tp(), 1, &RankLinks::tp));
    if (shape.shard_weights) {
      INFERD_RETURN_IF_ERROR(connect(first, shape.tp(), 1, &RankLinks::weights));
    }
    if (columns == 1) continue;
    for (int row = 0; row < shape.tp_rows; ++row) {
      INFERD_RETURN_IF_ERROR(connect(first + row * columns, columns, 1, &RankLinks::row));
    }
    for (int column = 0; column < columns; ++column) {
      INFERD_RETURN_IF_ERROR(connect(first + column, shape.tp_rows, columns, &RankLinks::column));
    }
  }
  for (int rank = 0; rank + shape.tp() < shape.ranks(); ++rank) {
    CommOptions options;
    options.timeout_us = runtime::kGroupTimeoutUs;
    INFERD_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Communicator>> pair,
                            MakeThreadGroup(2, options, clock));
    all.links_[static_cast<size_t>(rank)].next = pair[0].get();
    all.links_[static_cast<size_t>(rank + shape.tp())].previous = pair[1].get();
    for (std::unique_ptr<Communicator>& end : pair) all.ends_.push_back(std::move(end));
  }
  return all;
}

Status ThreadLinks::Connect(const std::vector<int>& ranks, Communicator* RankLinks::*member,
                            const Clock& clock) {
  if (ranks.size() < 2) return OkStatus();
  CommOptions options;
  options.timeout_us = runtime::kGroupTimeoutUs;
  INFERD_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Communicator>> group,
                          MakeThreadGroup(static_cast<int>(ranks.size()), options, clock));
  for (size_t i = 0; i < ranks.size(); ++i) {
    links_[static_cast<size_t>(ranks[i])].*member = group[i].get();
    ends_.push_back(std::move(group[i]));
  }
  return OkStatus();
}

void ThreadLinks::Abort() {
  for (const std::unique_ptr<Communicator>& end : ends_) end->Abort();
}

ThreadExecutor::ThreadExecutor(ThreadLinks links, std::vector<std::unique_ptr<Rank>> ranks,
                               int max_in_flight, std::shared_ptr<spdlog::logger> logger)
    : links_(std::move(links)), max_in_flight_(max_in_flight), logger_(std::move(logger)) {
  for (std::unique_ptr<Rank>& rank : ranks) {
    if (rank->info().place.answers()) answering_ = infos_.size();
    infos_.push_back(rank->info());
    workers_.push_back(
        std::make_unique<Worker>(std::move(rank), static_cast<size_t>(max_in_flight)));
  }
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->thread = std::thread([this, &own = *worker] { Loop(own); });
  }
}

ThreadExecutor::~ThreadExecutor() {
  stopping_ = true;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    // What is queued was given up with the executor.
    while (worker->plans.TryPop().has_value()) {
    }
    worker->plans.Close();
  }
  // A rank may be in a plan that another one will never see.
  links_.Abort();
  for (const std::unique_ptr<Worker>& worker : workers_) worker->thread.join();
}

void ThreadExecutor::Submit(std::shared_ptr<const BatchPlan> plan) {
  if (!last_.error.ok()) return;
  INFERD_CHECK(in_flight_ < max_in_flight_);
  ++in_flight_;
  // There is room: each rank took a plan for every result awaited.
  for (const std::unique_ptr<Worker>& worker : workers_) {
    INFERD_CHECK(worker->plans.TryPush(std::shared_ptr<const BatchPlan>(plan)));
  }
}

StepResult ThreadExecutor::Await() {
  if (!last_.error.ok()) return last_;
  INFERD_CHECK(in_flight_ > 0);
  --in_flight_;
  StepResult answer;
  std::vector<int64_t> stage_us;
  Status error;
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::optional<StepResult> result = workers_[i]->results.Pop();
    INFERD_CHECK(result.has_value());
    if (!result->error.ok() && (error.ok() || (IsEcho(error) && !IsEcho(result->error)))) {
      error = result->error;
    }
    AddStageTime(infos_[i].place, *result, &stage_us);
    if (i == answering_) answer = std::move(*result);
  }
  answer.stage_us = std::move(stage_us);
  if (!error.ok()) {
    last_.step = answer.step;
    last_.error = std::move(error);
    return last_;
  }
  return answer;
}

std::optional<std::shared_ptr<const BatchPlan>> ThreadExecutor::NextPlan(Worker& worker,
                                                                         int under_way) {
  Rank& rank = *worker.rank;
  if (under_way == rank.MaxSteps()) {
    // The device has the next step as well: there is time.
    if (under_way > 1 && !rank.IsDone()) (void)rank.Tend();
    return std::nullopt;
  }
  if (under_way == 0) {
    auto next = worker.plans.TryPop();
    while (!next.has_value() && !worker.plans.closed() && rank.Tend()) next = worker.plans.TryPop();
    return next.has_value() ? std::move(next) : worker.plans.Pop();
  }
  std::optional<std::shared_ptr<const BatchPlan>> plan = worker.plans.TryPop();
  while (!plan.has_value() && !rank.IsDone() && !worker.plans.closed()) {
    plan = worker.plans.PopFor(kPollInterval);
  }
  return plan;
}

void ThreadExecutor::Loop(Worker& worker) {
  const int world_rank = worker.rank->info().place.world_rank();
  (void)pthread_setname_np(pthread_self(), ("inferd-rank" + std::to_string(world_rank)).c_str());
  std::deque<StepId> under_way;
  for (;;) {
    StepResult result;
    try {
      const auto plan = NextPlan(worker, static_cast<int>(under_way.size()));
      if (plan.has_value()) {
        under_way.push_back((*plan)->step);
        worker.rank->Begin(**plan);
        continue;
      }
      if (under_way.empty()) return;
      result = worker.rank->End();
    } catch (const std::exception&) {
      // The only exceptions here are the library's own, such as no memory.
      result = StepResult();
      result.step = under_way.front();
      result.error = InternalError("the rank ran out of memory");
      links_.Abort();
    }
    under_way.pop_front();
    const bool failed = !result.error.ok();
    if (failed && logger_ != nullptr && !stopping_) {
      logger_->error("rank {}: step {} failed: {}", world_rank, result.step,
                     result.error.ToString());
    }
    INFERD_CHECK(worker.results.TryPush(std::move(result)));
    if (failed) return;
  }
}

}  // namespace runtime

StatusOr<std::unique_ptr<LocalExecutor>> StartThreadExecutor(
    const RankOptions& options, const ParallelShape& shape, std::span<Ops* const> ops,
    const Clock& clock, std::shared_ptr<spdlog::logger> logger) {
  INFERD_RETURN_IF_ERROR(CheckShape(shape));
  INFERD_CHECK(static_cast<int>(ops.size()) == shape.ranks());
  RankOptions fixed = options;
  if (shape.ranks() > 1) {
    INFERD_ASSIGN_OR_RETURN(const std::vector<RankInfo> plan,
                            PlanGroup(options, shape, *ops[0], logger));
    fixed.memory.num_blocks = plan.front().memory.num_blocks;
  }
  INFERD_ASSIGN_OR_RETURN(runtime::ThreadLinks links, runtime::ThreadLinks::Create(shape, clock));
  std::vector<std::unique_ptr<Rank>> ranks(ops.size());
  INFERD_RETURN_IF_ERROR(runtime::OnEach(shape.ranks(), links, [&](int r) {
    const auto i = static_cast<size_t>(r);
    INFERD_ASSIGN_OR_RETURN(
        ranks[i], LoadRank(fixed, PlaceOf(shape, r), links.links(r), *ops[i], clock, logger));
    return OkStatus();
  }));
  if (options.warm_up) {
    INFERD_RETURN_IF_ERROR(runtime::OnEach(
        shape.ranks(), links, [&](int r) { return ranks[static_cast<size_t>(r)]->WarmUp(); }));
  }
  return std::unique_ptr<LocalExecutor>(std::make_unique<runtime::ThreadExecutor>(
      std::move(links), std::move(ranks), options.max_in_flight, std::move(logger)));
}

StatusOr<std::unique_ptr<LocalExecutor>> StartLocalExecutor(
    const RankOptions& options, Ops& ops, const Clock& clock,
    std::shared_ptr<spdlog::logger> logger) {
  Ops* const alone = &ops;
  return StartThreadExecutor(options, {}, {&alone, 1}, clock, std::move(logger));
}

}  // namespace inferd
