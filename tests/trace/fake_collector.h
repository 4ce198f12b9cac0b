// An OpenTelemetry collector in this process.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

namespace inferd {

namespace otlp = opentelemetry::proto;
namespace collector = opentelemetry::proto::collector::trace::v1;

class FakeCollector final : public collector::TraceService::Service {
 public:
  explicit FakeCollector(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeCollector() override {
    Hold(false);
    server_->Shutdown(std::chrono::system_clock::now());
  }

  grpc::Status Export(grpc::ServerContext*, const collector::ExportTraceServiceRequest* request,
                      collector::ExportTraceServiceResponse* response) override {
    std::unique_lock lock(mutex_);
    ++calls_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (refusals_ > 0) {
      --refusals_;
      return {refusal_, "not now"};
    }
    response->mutable_partial_success()->set_rejected_spans(rejected_);
    requests_.push_back(*request);
    changed_.notify_all();
    return grpc::Status::OK;
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void Hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void Refuse(int times, grpc::StatusCode code) {
    std::lock_guard lock(mutex_);
    refusals_ = times;
    refusal_ = code;
  }
  void Reject(int64_t spans) {
    std::lock_guard lock(mutex_);
    rejected_ = spans;
  }
  bool WaitForCalls(int calls) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return calls_ >= calls; });
  }
  std::vector<otlp::trace::v1::Span> Spans() {
    std::lock_guard lock(mutex_);
    std::vector<otlp::trace::v1::Span> spans;
    for (const auto& request : requests_) {
      for (const auto& resource : request.resource_spans()) {
        for (const auto& scope : resource.scope_spans()) {
          spans.insert(spans.end(), scope.spans().begin(), scope.spans().end());
        }
      }
    }
    return spans;
  }
  collector::ExportTraceServiceRequest first() {
    std::lock_guard lock(mutex_);
    return requests_.at(0);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<collector::ExportTraceServiceRequest> requests_;
  bool held_ = false;
  int calls_ = 0;
  int refusals_ = 0;
  grpc::StatusCode refusal_ = grpc::StatusCode::OK;
  int64_t rejected_ = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace inferd
