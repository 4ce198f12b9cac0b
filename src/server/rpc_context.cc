#include "server/rpc_context.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "inferd/net/listener.h"
#include "server/grpc_status.h"

namespace inferd {
namespace {

std::string_view MetadataValue(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  if (it == metadata.end()) return {};
  return {it->second.data(), it->second.size()};
}

void AddMillis(const char* key, int64_t us, grpc::CallbackServerContext* context) {
  if (us < 0) return;
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.3f", static_cast<double>(us) / 1000.0);
  context->AddTrailingMetadata(key, buffer.data());
}

}  // namespace

Credentials KeysOf(const grpc::CallbackServerContext& context) {
  Credentials credentials;
  credentials.authorization = MetadataValue(context, "authorization");
  credentials.x_api_key = MetadataValue(context, "x-api-key");
  return credentials;
}

StatusOr<Principal> AuthenticateRpc(const grpc::CallbackServerContext& context, FrontEnd& front) {
  Credentials credentials = KeysOf(context);
  const std::string certificate = CertificateOfHttp2(context.peer());
  credentials.certificate = certificate;
  return front.authorizer().Authenticate(credentials);
}

CallerInfo ReadCaller(RpcMethod method, const grpc::CallbackServerContext& context,
                      FrontEnd& front) {
  CallerInfo caller;
  caller.method = method;
  StatusOr<Principal> principal = AuthenticateRpc(context, front);
  caller.access = principal.status();
  if (principal.ok()) caller.key = *std::move(principal);
  const std::string_view id = MetadataValue(context, "x-request-id");
  caller.request_id = IsValidRequestId(id) ? std::string(id) : front.RandomId();
  caller.trace = front.ReadTrace(MetadataValue(context, "traceparent"));
  caller.peer = PeerOfHttp2(context.peer());
  return caller;
}

int64_t DeadlineUs(const grpc::CallbackServerContext& context, const FrontEnd& front) {
  const RequestLimits& limits = front.options().limits;
  const int64_t now_us = front.clock().NowUs();
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) {
    return now_us + limits.default_deadline_ms * 1000;
  }
  // Compared in milliseconds: a far deadline in microseconds could overflow.
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::system_clock::now());
  if (left.count() >= limits.max_deadline_ms) return now_us + limits.max_deadline_ms * 1000;
  return now_us + left.count() * 1000;
}

void AddAnswerMetadata(const CallerInfo& caller, const FrontEnd& front,
                       grpc::CallbackServerContext* context) {
  context->AddInitialMetadata("x-request-id", caller.request_id);
  context->AddInitialMetadata("x-server-instance", front.instance_id());
}

void AddTrailers(const CallerInfo& caller, const Status& status, const CallSummary& summary,
                 bool answered, grpc::CallbackServerContext* context) {
  if (!answered) context->AddTrailingMetadata("x-request-id", caller.request_id);
  AddMillis("x-queue-time-ms", summary.queue_us, context);
  AddMillis("x-ttft-ms", summary.ttft_us, context);
  AddRetryTrailer(status, context);
}

}  // namespace inferd
