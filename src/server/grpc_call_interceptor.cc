#include "server/grpc_call_interceptor.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <string_view>

namespace inferd {
namespace {

// By gRPC's numbers.
constexpr std::array<const char*, 17> kCodes = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

using Hook = grpc::experimental::InterceptionHookPoints;

// gRPC owns it and destroys it when the call is over. Its calls come one at a time.
class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(std::string method, bool typed, GrpcCallMetrics& metrics, const Clock& clock)
      : typed_(typed), metrics_(metrics), clock_(clock), begin_us_(clock.NowUs()) {
    call_.method = std::move(method);
    // Of a call that ends without one.
    call_.status = "CANCELLED";
    metrics_.Started(call_.method);
  }
  ~CallInterceptor() override {
    call_.seconds = static_cast<double>(clock_.NowUs() - begin_us_) * 1e-6;
    metrics_.Ended(call_);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(Hook::POST_RECV_MESSAGE)) {
      // Of a known method this is its request; null when the client sent none.
      const void* message = batch->GetRecvMessage();
      if (typed_ && message != nullptr) {
        const auto* request = static_cast<const google::protobuf::Message*>(message);
        call_.received_bytes += static_cast<int64_t>(request->ByteSizeLong());
      }
    }
    if (batch->QueryInterceptionHookPoint(Hook::PRE_SEND_MESSAGE)) {
      const grpc::ByteBuffer* bytes = batch->GetSerializedSendMessage();
      if (bytes != nullptr) call_.sent_bytes += static_cast<int64_t>(bytes->Length());
    }
    if (batch->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS)) {
      const auto code = static_cast<size_t>(batch->GetSendStatus().error_code());
      call_.status = code < kCodes.size() ? kCodes[code] : "UNKNOWN";
    }
    batch->Proceed();
  }

 private:
  const bool typed_;
  GrpcCallMetrics& metrics_;
  const Clock& clock_;
  const int64_t begin_us_;
  GrpcCall call_;
};

}  // namespace

GrpcCallInterceptorFactory::GrpcCallInterceptorFactory(const std::vector<std::string>& services,
                                                       GrpcCallMetrics& metrics, const Clock& clock)
    : metrics_(metrics), clock_(clock) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : services) {
    const google::protobuf::ServiceDescriptor* service = pool->FindServiceByName(name);
    for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
      methods_.insert(service->full_name() + "/" + service->method(i)->name());
    }
  }
}

grpc::experimental::Interceptor* GrpcCallInterceptorFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  std::string_view path = info->method() != nullptr ? info->method() : "";
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  const bool known = methods_.find(path) != methods_.end();
  return new CallInterceptor(known ? std::string(path) : "other", known, metrics_, clock_);
}

}  // namespace inferd
