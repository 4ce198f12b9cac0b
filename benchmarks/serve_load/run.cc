#include "serve_load/run.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

namespace inferd::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Everything that is decided before the run, so that it does not depend on it.
struct Work {
  v1::CompletionRequest request;
  double due = 0;  // open loop only
};

std::vector<Work> PlanWork(const LoadOptions& options, int32_t vocab_size) {
  std::mt19937_64 random(options.seed);
  // Low ids are often special tokens.
  const int32_t first_id = std::min(256, vocab_size / 2);
  std::uniform_int_distribution<uint32_t> token(static_cast<uint32_t>(first_id),
                                                static_cast<uint32_t>(vocab_size - 1));
  std::uniform_int_distribution<int32_t> prompt(options.prompt_tokens.low,
                                                options.prompt_tokens.high);
  std::uniform_int_distribution<int32_t> output(options.output_tokens.low,
                                                options.output_tokens.high);
  std::exponential_distribution<double> gap(options.rate > 0 ? options.rate : 1.0);
  std::vector<uint32_t> prefix(static_cast<size_t>(options.shared_prefix_tokens));
  for (uint32_t& id : prefix) id = token(random);

  std::vector<Work> work(static_cast<size_t>(options.requests));
  double due = 0;
  for (Work& item : work) {
    v1::CompletionRequest& request = item.request;
    request.set_model(options.model);
    const int32_t length = std::max(prompt(random), options.shared_prefix_tokens + 1);
    auto* ids = request.mutable_token_ids()->mutable_ids();
    ids->Add(prefix.begin(), prefix.end());
    while (ids->size() < length) ids->Add(token(random));
    request.set_max_tokens(output(random));
    request.set_ignore_eos(true);
    request.set_return_token_ids(true);
    request.set_temperature(static_cast<float>(options.temperature));
    request.set_seed(static_cast<int64_t>(random() >> 1));
    due += gap(random);
    item.due = options.rate > 0 ? due : 0;
  }
  return work;
}

// Counts the requests in flight; the starter waits for places or for all.
class InFlight {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void Remove() {
    const std::lock_guard lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  void WaitBelow(int32_t limit) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ < limit; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t count_ = 0;
};

// One streaming call; deletes itself when done. gRPC calls it from one thread at
// a time.
class Call final : public grpc::ClientReadReactor<v1::CompletionChunk> {
 public:
  Call(SteadyClock::time_point start, const LoadOptions& options, const Work& work,
       v1::CompletionService::Stub& stub, RequestRecord& record, InFlight& in_flight)
      : start_(start), record_(record), in_flight_(in_flight) {
    record_.prompt_tokens = work.request.token_ids().ids_size();
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1e3)));
    stub.async()->StreamCompletion(&context_, &work.request, this);
    StartRead(&chunk_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double now = Now();
    int32_t tokens = 0;
    for (const v1::CompletionChoice& choice : chunk_.choices()) tokens += choice.token_ids_size();
    if (tokens > 0) {
      if (record_.output_tokens == 0) {
        record_.first_token = now;
        last_token_ = now;
        record_.output_tokens = 1;
        --tokens;
      }
      if (tokens > 0) {
        const auto gap = static_cast<float>((now - last_token_) / tokens);
        record_.gaps.insert(record_.gaps.end(), static_cast<size_t>(tokens), gap);
        record_.output_tokens += tokens;
      }
      last_token_ = now;
    }
    StartRead(&chunk_);
  }

  void OnDone(const grpc::Status& status) override {
    record_.end = Now();
    record_.code = static_cast<int>(status.error_code());
    in_flight_.Remove();
    delete this;
  }

 private:
  double Now() const { return std::chrono::duration<double>(SteadyClock::now() - start_).count(); }

  const SteadyClock::time_point start_;
  RequestRecord& record_;
  InFlight& in_flight_;
  grpc::ClientContext context_;
  v1::CompletionChunk chunk_;
  double last_token_ = 0;
};

}  // namespace

double RequestRecord::MeanGap() const {
  if (gaps.empty()) return 0;
  return std::accumulate(gaps.begin(), gaps.end(), 0.0) / static_cast<double>(gaps.size());
}

RunRecord RunLoad(const LoadOptions& options, int32_t vocab_size,
                  v1::CompletionService::Stub& stub) {
  const std::vector<Work> work = PlanWork(options, vocab_size);
  RunRecord run;
  run.requests.resize(work.size());
  InFlight in_flight;
  const SteadyClock::time_point start = SteadyClock::now();
  for (size_t i = 0; i < work.size(); ++i) {
    RequestRecord& record = run.requests[i];
    if (options.rate > 0) {
      std::this_thread::sleep_until(start + std::chrono::duration_cast<SteadyClock::duration>(
                                                std::chrono::duration<double>(work[i].due)));
      record.due = work[i].due;
    } else {
      in_flight.WaitBelow(options.concurrency);
      record.due = std::chrono::duration<double>(SteadyClock::now() - start).count();
    }
    in_flight.Add();
    new Call(start, options, work[i], stub, record, in_flight);  // deletes itself
  }
  in_flight.WaitBelow(1);
  run.seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  return run;
}

}  // namespace inferd::bench
