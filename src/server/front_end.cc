#include "server/front_end.h"

#include <array>
#include <cstdio>
#include <utility>

#include "server/errors.h"
#include "spdlog/sinks/null_sink.h"

namespace inferd {
namespace {

std::shared_ptr<spdlog::logger> OrNull(std::shared_ptr<spdlog::logger> logger) {
  if (logger) return logger;
  return std::make_shared<spdlog::logger>("null", std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace

FrontEnd::FrontEnd(const ServerOptions& options, const Clock& clock, EntropySource& entropy,
                   std::shared_ptr<spdlog::logger> logger)
    : options_(options),
      clock_(clock),
      entropy_(entropy),
      logger_(OrNull(std::move(logger))),
      cache_key_{entropy.Next64(), entropy.Next64()},
      start_unix_us_(clock.UnixUs()),
      authorizer_(clock, options.api_keys, options.client_certificates),
      metrics_(options_, accounting_, clock),
      router_(options_.detokenizer_threads),
      tokenizers_(options_.tokenizer_threads, static_cast<size_t>(options_.tokenizer_queue)) {
  instance_id_ = RandomId();
  if (options_.trace_endpoint.empty()) return;
  SpanExporter::Options tracing;
  tracing.endpoint = options_.trace_endpoint;
  tracing.authorities = options_.trace_authorities;
  tracing.version = options_.version;
  tracing.instance_id = instance_id_;
  tracing.max_queued = options_.trace_max_queued;
  tracer_ = SpanExporter::Start(std::move(tracing), logger_);
  metrics_.SetTracer(tracer_.get());
}

void FrontEnd::Attach(ServedModel model, Engine& engine) {
  metrics_.AttachModel(model, engine);
  auto attached = std::make_shared<const AttachedModel>(AttachedModel{std::move(model), engine});
  std::lock_guard lock(mutex_);
  attached_ = std::move(attached);
}

void FrontEnd::SetState(ServerState state) {
  {
    std::lock_guard lock(mutex_);
    state_ = state;
  }
  metrics_.SetState(state);
}

ServerState FrontEnd::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

bool FrontEnd::serving() const {
  std::lock_guard lock(mutex_);
  return state_ == ServerState::kReady && attached_ != nullptr &&
         attached_->engine.Stats().state == EngineState::kRunning;
}

void FrontEnd::EngineDied() {
  {
    std::lock_guard lock(mutex_);
    if (state_ == ServerState::kFailed) return;
    state_ = ServerState::kFailed;
  }
  metrics_.SetState(ServerState::kFailed);
  logger_->error("the engine has failed; not serving any more");
}

StatusOr<std::shared_ptr<const AttachedModel>> FrontEnd::Model() const {
  if (accounting_.closed()) return DrainingError();
  std::lock_guard lock(mutex_);
  if (state_ == ServerState::kFailed) return attached_ ? EngineDeadError() : LoadFailedError();
  if (attached_ == nullptr) return NotReadyError();
  return attached_;
}

StatusOr<std::shared_ptr<const AttachedModel>> FrontEnd::ModelFor(const CallerInfo& caller) const {
  INFERD_RETURN_IF_ERROR(caller.access);
  INFERD_ASSIGN_OR_RETURN(std::shared_ptr<const AttachedModel> attached, Model());
  INFERD_RETURN_IF_ERROR(CheckModelAccess(caller.key, attached->model));
  return attached;
}

std::shared_ptr<const AttachedModel> FrontEnd::model_or_null() const {
  std::lock_guard lock(mutex_);
  return attached_;
}

std::string FrontEnd::RandomId() {
  std::array<char, 40> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%016llx%016llx",
                static_cast<unsigned long long>(entropy_.Next64()),
                static_cast<unsigned long long>(entropy_.Next64()));
  return std::string(buffer.data(), 24);
}

void FrontEnd::LogAccess(const AccessRecord& record) {
  try {
    logger_->info("{}", FormatAccessLine(record, options_.json_logs));
  } catch (...) {
    // A log line must not take a request down with it.
  }
}

}  // namespace inferd
