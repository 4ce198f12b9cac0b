#include "server/grpc_status.h"

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors.h"

namespace inferd {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxValueBytes = 256;
constexpr size_t kMaxMetadata = 8;

template <typename Detail>
void Pack(const Detail& detail, google::rpc::Status* rich) {
  rich->add_details()->PackFrom(detail);
}

void PackDetail(const ErrorDetail& detail, const std::string& message, google::rpc::Status* rich) {
  google::rpc::ErrorInfo info;
  info.set_reason(detail.reason);
  info.set_domain("inferd");
  size_t num_facts = 0;
  for (const auto& [name, value] : detail.metadata) {
    if (++num_facts > kMaxMetadata) break;
    (*info.mutable_metadata())[name] = Excerpt(value, kMaxValueBytes);
  }
  Pack(info, rich);
  if (!detail.field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(Excerpt(detail.field, kMaxValueBytes));
    violation->set_description(message);
    Pack(bad, rich);
  }
  if (detail.retry_after_ms >= 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(detail.retry_after_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(detail.retry_after_ms % 1000 * 1'000'000));
    Pack(retry, rich);
  }
  if (detail.reason == "RATE_LIMITED") {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject("tenant");
    violation->set_description(message);
    Pack(quota, rich);
  }
  if (detail.reason == "MODEL_NOT_FOUND") {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type("model");
    for (const auto& [name, value] : detail.metadata) {
      if (name == "model") resource.set_resource_name(Excerpt(value, kMaxValueBytes));
    }
    resource.set_description(message);
    Pack(resource, rich);
  }
}

}  // namespace

grpc::Status ToGrpcStatus(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Excerpt(status.message(), kMaxMessageBytes);
  // The numbers of both enums are those of google.rpc.Code.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  if (status.detail() == nullptr) return grpc::Status(code, message);
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(message);
  PackDetail(*status.detail(), message, &rich);
  return grpc::Status(code, message, rich.SerializeAsString());
}

void AddRetryTrailer(const Status& status, grpc::CallbackServerContext* context) {
  const ErrorDetail* detail = status.detail();
  if (detail == nullptr || detail->retry_after_ms < 0) return;
  context->AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(detail->retry_after_ms));
}

}  // namespace inferd
