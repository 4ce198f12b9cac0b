#include "inferd/trace/span_exporter.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"
#include "trace/otlp_messages.h"

namespace inferd {
namespace {

namespace collector = opentelemetry::proto::collector::trace::v1;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kTries = 3;
constexpr milliseconds kRetryPause{200};
constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

std::shared_ptr<grpc::Channel> MakeChannel(const SpanExporter::Options& options) {
  std::string address = options.endpoint;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (address.rfind(kHttps, 0) == 0) {
    address.erase(0, kHttps.size());
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = options.authorities;
    credentials = grpc::SslCredentials(tls);
  } else {
    if (address.rfind(kHttp, 0) == 0) address.erase(0, kHttp.size());
    credentials = grpc::InsecureChannelCredentials();
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

class OtlpExporter final : public SpanExporter {
 public:
  OtlpExporter(Options options, std::shared_ptr<spdlog::logger> logger)
      : options_(std::move(options)),
        logger_(std::move(logger)),
        stub_(collector::TraceService::NewStub(MakeChannel(options_))),
        thread_([this] { Run(); }) {}

  ~OtlpExporter() override { Flush(0); }

  void Export(Span span) override {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= static_cast<size_t>(options_.max_queued)) {
      ++counts_.dropped;
      return;
    }
    queue_.push_back(std::move(span));
    if (queue_.size() == 1 || queue_.size() >= kMaxBatch) changed_.notify_all();
  }

  void Flush(int64_t timeout_ms) override {
    std::unique_lock lock(mutex_);
    if (flushed_) return;
    flushed_ = true;
    stopping_ = true;
    end_ = SteadyClock::now() + milliseconds(timeout_ms);
    changed_.notify_all();
    // The thread ends by itself once the queue is empty; here it is only waited for.
    done_.wait_until(lock, end_, [this] { return finished_; });
    counts_.dropped += queue_.size();
    queue_.clear();
    if (call_ != nullptr) call_->TryCancel();
    lock.unlock();
    thread_.join();
  }

  SpanCounts counts() const override {
    std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) break;
      changed_.wait_for(lock, milliseconds(options_.interval_ms),
                        [this] { return stopping_ || queue_.size() >= kMaxBatch; });
      std::deque<Span> batch;
      while (!queue_.empty() && batch.size() < kMaxBatch) {
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      if (!batch.empty()) SendBatch(batch, &lock);
    }
    finished_ = true;
    done_.notify_all();
  }

  // `lock` is held before and after, and not while it waits for the network.
  void SendBatch(const std::deque<Span>& batch, std::unique_lock<std::mutex>* lock) {
    collector::ExportTraceServiceRequest request = trace::EmptyRequest(options_);
    for (const Span& span : batch) trace::AddSpan(span, &request);
    grpc::Status status;
    collector::ExportTraceServiceResponse response;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      status = Try(request, &response, lock);
      const bool again = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                         status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
      if (status.ok() || !again || stopping_) break;
      changed_.wait_for(*lock, kRetryPause * (attempt + 1), [this] { return stopping_; });
    }
    if (!status.ok()) {
      counts_.failed += batch.size();
      logger_->warn("tracing: {} spans lost: collector {}: {}", batch.size(), options_.endpoint,
                    status.error_message().substr(0, 200));
      return;
    }
    const auto rejected = static_cast<uint64_t>(std::clamp<int64_t>(
        response.partial_success().rejected_spans(), 0, static_cast<int64_t>(batch.size())));
    counts_.failed += rejected;
    counts_.exported += batch.size() - rejected;
  }

  grpc::Status Try(const collector::ExportTraceServiceRequest& request,
                   collector::ExportTraceServiceResponse* response,
                   std::unique_lock<std::mutex>* lock) {
    grpc::ClientContext context;
    auto end = std::chrono::system_clock::now() + milliseconds(options_.timeout_ms);
    if (stopping_) {
      end = std::min(end, std::chrono::system_clock::now() +
                              std::chrono::duration_cast<milliseconds>(end_ - SteadyClock::now()));
    }
    context.set_deadline(end);
    call_ = &context;
    lock->unlock();
    const grpc::Status status = stub_->Export(&context, request, response);
    lock->lock();
    call_ = nullptr;
    return status;
  }

  const Options options_;
  const std::shared_ptr<spdlog::logger> logger_;
  const std::unique_ptr<collector::TraceService::Stub> stub_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::condition_variable done_;
  std::deque<Span> queue_;
  SpanCounts counts_;
  grpc::ClientContext* call_ = nullptr;  // under way
  SteadyClock::time_point end_;          // of the flush
  bool stopping_ = false;
  bool flushed_ = false;
  bool finished_ = false;
  std::thread thread_;  // last
};

}  // namespace

std::unique_ptr<SpanExporter> SpanExporter::Start(Options options,
                                                  std::shared_ptr<spdlog::logger> logger) {
  return std::make_unique<OtlpExporter>(std::move(options), std::move(logger));
}

}  // namespace inferd
