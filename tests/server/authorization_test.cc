// Who gets in over gRPC, and what the others hear.
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "gtest/gtest.h"
#include "harness.h"

namespace inferd {
namespace {

using testing::HasSubstr;
using testing::Not;

// sha256 of "one", "two" and "three".
constexpr char kFile[] =
    "keys:\n"
    "  - id: first\n"
    "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n"
    "  - id: second\n"
    "    sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3\n"
    "    models: [another-model]\n"
    "  - id: third\n"
    "    sha256: 8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f\n"
    "    models: [alias]\n"
    "    requests_per_minute: 2\n";

ServerOptions WithKeys() {
  ServerOptions options = TestOptions();
  auto ring = KeyRing::Parse(kFile, "test");
  EXPECT_TRUE(ring.ok()) << ring.status().ToString();
  options.api_keys = *ring;
  return options;
}

// Ends an rpc of any name and kind that is sent one empty message.
grpc::Status Call(Harness& h, const std::string& method, const std::string& key = "") {
  grpc::GenericStub stub(h.channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  if (ok) {
    const grpc::Slice empty;
    call->WriteLast(grpc::ByteBuffer(&empty, 1), grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &ok);
  }
  for (grpc::ByteBuffer answer; ok;) {
    call->Read(&answer, nullptr);
    queue.Next(&tag, &ok);
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return status;
}

// "/inferd.v1.ChatService/CreateChatCompletion" and so on: whatever the files have.
std::vector<std::string> AllMethods() {
  std::vector<std::string> methods;
  for (const char* file :
       {"inferd/v1/chat.proto", "inferd/v1/services.proto", "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto"}) {
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindFileByName(file);
    if (descriptor == nullptr) continue;
    for (int s = 0; s < descriptor->service_count(); ++s) {
      const auto* service = descriptor->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        methods.push_back("/" + service->full_name() + "/" + service->method(m)->name());
      }
    }
  }
  return methods;
}

grpc::Status AskWith(Harness& h, const std::string& key, const char* header = "authorization") {
  grpc::ClientContext context;
  if (!key.empty()) context.AddMetadata(header, key);
  v1::ChatCompletion answer;
  return h.chat->CreateChatCompletion(&context, Ask("hi"), &answer);
}

void Answer(Harness& h) {
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "x", FinishReason::kLength); });
}

TEST(AuthorizationTest, EveryRpcIsDeniedByDefault) {
  Harness h(WithKeys());
  std::vector<std::string> methods = AllMethods();
  EXPECT_GE(methods.size(), 13U);
  methods.insert(methods.end(), {"/no.such.Service/Method", "/inferd.v1.ChatService/NoSuchMethod",
                                 "/inferd.v1.AdminService/ReloadConfig", "/x"});
  for (const std::string& method : methods) {
    for (const char* key : {"", "wrong"}) {
      const grpc::Status status = Call(h, method, key);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
      EXPECT_EQ(ReasonOf(status), "UNAUTHENTICATED") << method;
      EXPECT_EQ(status.error_message().find("test-model"), std::string::npos);
    }
    EXPECT_NE(Call(h, method, "one").error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
  }
  EXPECT_EQ(Call(h, "/no.such.Service/Method", "one").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(h.engine->submitted(), 0U);
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"unauthenticated\"}"),
            static_cast<double>(2 * (methods.size() - 2)));  // reflection is not counted
}

TEST(AuthorizationTest, OpenServersKnowUnknownRpcsToo) {
  Harness h;
  EXPECT_EQ(Call(h, "/no.such.Service/Method").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call(h, "/inferd.v1.ModelService/ListModels").error_code(), grpc::StatusCode::OK);
}

TEST(AuthorizationTest, HealthNeedsNoKey) {
  Harness h(WithKeys());
  EXPECT_EQ(Call(h, "/grpc.health.v1.Health/Check").error_code(), grpc::StatusCode::OK);
}

TEST(AuthorizationTest, KeysOpenAndAreLoggedByTheirId) {
  Harness h(WithKeys());
  Answer(h);
  EXPECT_TRUE(AskWith(h, "Bearer one").ok());
  EXPECT_TRUE(AskWith(h, "one", "x-api-key").ok());
  EXPECT_THAT(h.Log(), HasSubstr("key_id=\"first\""));
  EXPECT_FALSE(AskWith(h, "Bearer three-and-more").ok());
  EXPECT_THAT(h.Log(), Not(HasSubstr("three-and-more")));
  EXPECT_THAT(h.Log(), Not(HasSubstr("Bearer")));
  EXPECT_EQ(h.HttpGet("/metrics").find("\"first\""), std::string::npos);
}

TEST(AuthorizationTest, ModelsOfAKey) {
  Harness h(WithKeys());
  Answer(h);
  const grpc::Status denied = AskWith(h, "Bearer two");
  EXPECT_EQ(denied.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(denied), "MODEL_NOT_ALLOWED");
  EXPECT_EQ(denied.error_message().find("test-model"), std::string::npos);
  EXPECT_EQ(Call(h, "/inferd.v1.TokenizerService/Tokenize", "two").error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  const auto models = [&](const std::string& key) {
    auto stub = v1::ModelService::NewStub(h.channel);
    grpc::ClientContext context;
    context.AddMetadata("x-api-key", key);
    v1::ListModelsResponse response;
    EXPECT_TRUE(stub->ListModels(&context, {}, &response).ok());
    return response.models_size();
  };
  EXPECT_EQ(models("one"), 1);
  EXPECT_EQ(models("two"), 0);
  EXPECT_EQ(models("three"), 1);
  auto stub = v1::ModelService::NewStub(h.channel);
  grpc::ClientContext context;
  context.AddMetadata("x-api-key", "two");
  v1::GetModelRequest request;
  request.set_model("test-model");
  v1::Model model;
  EXPECT_EQ(stub->GetModel(&context, request, &model).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(h.engine->submitted(), 0U);
}

TEST(AuthorizationTest, RateLimitsSayWhenToComeBack) {
  Harness h(WithKeys());
  Answer(h);
  EXPECT_TRUE(AskWith(h, "Bearer three").ok());
  EXPECT_TRUE(AskWith(h, "Bearer three").ok());
  const grpc::Status limited = AskWith(h, "Bearer three");
  EXPECT_EQ(limited.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(limited), "RATE_LIMITED");
  const auto retry = DetailOf<google::rpc::RetryInfo>(limited);
  ASSERT_TRUE(retry.has_value());
  EXPECT_GE(retry->retry_delay().seconds(), 20);
  EXPECT_LE(retry->retry_delay().seconds(), 30);
  ASSERT_TRUE(DetailOf<google::rpc::QuotaFailure>(limited).has_value());
  EXPECT_EQ(h.engine->submitted(), 2U);
  EXPECT_TRUE(AskWith(h, "Bearer one").ok());  // another tenant
  EXPECT_EQ(h.Metric("inferd_requests_rejected_total{reason=\"rate_limited\"}"), 1);
}

TEST(AuthorizationTest, TenantsHaveTheirOwnPrefixCache) {
  Harness h(WithKeys());
  Answer(h);
  std::vector<Hash128> scopes;
  for (const char* key : {"Bearer one", "Bearer one", "Bearer three"}) {
    EXPECT_TRUE(AskWith(h, key).ok());
    scopes.push_back(h.engine->WaitForRequest()->cache_scope);
  }
  EXPECT_EQ(scopes[0], scopes[1]);
  EXPECT_NE(scopes[0], scopes[2]);
  EXPECT_NE(scopes[0], Hash128{});
}

TEST(AuthorizationTest, ReloadedKeysCountAtOnce) {
  Harness h(WithKeys());
  Answer(h);
  EXPECT_TRUE(AskWith(h, "Bearer one").ok());
  h.server->SetApiKeys(*KeyRing::Parse("keys: []\n", "test"));
  EXPECT_EQ(AskWith(h, "Bearer one").error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace inferd
