// States, health, reflection, draining and shutdown.
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "gtest/gtest.h"
#include "harness.h"

namespace inferd {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus HealthOf(Harness& h, const std::string& service,
                                            grpc::StatusCode* code = nullptr) {
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const grpc::Status status = Health::NewStub(h.channel)->Check(&context, request, &response);
  if (code != nullptr) *code = status.error_code();
  return response.status();
}

int HttpStatus(Harness& h, const std::string& path) {
  int status = 0;
  h.HttpGet(path, &status);
  return status;
}

TEST(LifecycleTest, LoadingReadyDraining) {
  Harness h(TestOptions(), /*attach=*/false);
  EXPECT_EQ(h.server->state(), ServerState::kLoading);
  for (const char* name : {"", "inferd.v1.ChatService", "inferd.v1.ServerService"}) {
    EXPECT_EQ(HealthOf(h, name), HealthCheckResponse::NOT_SERVING) << name;
  }
  EXPECT_EQ(HttpStatus(h, "/healthz"), 200);
  EXPECT_EQ(HttpStatus(h, "/readyz"), 503);
  const Streamed early = StreamChat(h, Ask("hi"));
  EXPECT_EQ(early.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(early.status), "NOT_READY");
  EXPECT_EQ(h.Metric("inferd_server_state{state=\"loading\"}"), 1);

  h.Attach();
  EXPECT_EQ(HealthOf(h, ""), HealthCheckResponse::SERVING);
  EXPECT_EQ(HealthOf(h, "inferd.v1.ChatService"), HealthCheckResponse::SERVING);
  grpc::StatusCode code = grpc::StatusCode::OK;
  HealthOf(h, "no.such.Service", &code);
  EXPECT_EQ(code, grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(HttpStatus(h, "/readyz"), 200);
  EXPECT_EQ(HttpStatus(h, "/health"), 200);
  EXPECT_EQ(HttpStatus(h, "/debug"), 404);
  EXPECT_THAT(h.HttpGet("/version"), testing::HasSubstr("1.2.3"));

  h.server->StartDraining();
  EXPECT_EQ(HealthOf(h, ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(HttpStatus(h, "/readyz"), 503);
  EXPECT_EQ(HttpStatus(h, "/healthz"), 200);
  h.engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "still", FinishReason::kLength); });
  EXPECT_TRUE(StreamChat(h, Ask("hi")).status.ok());
}

TEST(LifecycleTest, DrainingOutlastsLoading) {
  Harness h(TestOptions(), /*attach=*/false);
  h.server->StartDraining();
  h.Attach();
  EXPECT_EQ(h.server->state(), ServerState::kDraining);
  EXPECT_EQ(HealthOf(h, ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(HttpStatus(h, "/readyz"), 503);
}

TEST(LifecycleTest, FailedLoading) {
  Harness h(TestOptions(), /*attach=*/false);
  h.server->Fail();
  EXPECT_EQ(h.server->state(), ServerState::kFailed);
  EXPECT_EQ(HealthOf(h, ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(StreamChat(h, Ask("hi")).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(LifecycleTest, WatchPushesEachChange) {
  Harness h(TestOptions(), /*attach=*/false);
  auto stub = Health::NewStub(h.channel);
  grpc::ClientContext context;
  grpc::ClientContext unknown_context;
  HealthCheckRequest request;
  auto watch = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  h.Attach();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  EngineStats stats;
  stats.state = EngineState::kRecovering;
  h.engine->SetStats(stats);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(h.server->state(), ServerState::kReady);
  stats.state = EngineState::kRunning;
  h.engine->SetStats(stats);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  stats.state = EngineState::kDead;
  h.engine->SetStats(stats);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(h.server->state(), ServerState::kFailed);
  request.set_service("no.such.Service");
  auto unknown = stub->Watch(&unknown_context, request);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  h.server->Shutdown(0);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(unknown->Read(&response));
  unknown->Finish();
}

TEST(LifecycleTest, ShutdownWaitsForRunningRequests) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  auto done = std::async(std::launch::async, [&] { return h.server->Shutdown(30'000); });
  while (h.server->state() != ServerState::kDraining) std::this_thread::yield();
  h.engine->Post(TextEvents(call.spec.id, "to the end", FinishReason::kLength));
  const Streamed s = ReadAll(*call.reader);
  EXPECT_TRUE(s.status.ok()) << s.status.error_message();
  EXPECT_EQ(s.text.at(0), "to the end");
  done.wait();
}

TEST(LifecycleTest, ShutdownRefusesWithDraining) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  auto done = std::async(std::launch::async, [&] { return h.server->Shutdown(30'000); });
  std::string reason;
  while (reason != "DRAINING") {
    // Accepted until the door closes: those are cancelled right away.
    grpc::ClientContext probe;
    probe.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    auto other = h.chat->StreamChatCompletion(&probe, Ask("hi"));
    reason = ReasonOf(ReadAll(*other).status);
  }
  h.engine->Post(TextEvents(call.spec.id, "x", FinishReason::kLength));
  EXPECT_TRUE(ReadAll(*call.reader).status.ok());
  EXPECT_TRUE(done.get());
}

TEST(LifecycleTest, ShutdownEndsTheRestItself) {
  Harness h;
  OpenChat call(h, Ask("hi"));
  h.engine->Post({Token(call.spec.id, 'a')});
  v1::ChatCompletionChunk chunk;
  ASSERT_TRUE(call.reader->Read(&chunk));
  EXPECT_FALSE(h.server->Shutdown(50));
  EXPECT_TRUE(h.engine->WaitForCancel(call.spec.id));
  const grpc::Status status = call.reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "DRAINING");
  EXPECT_EQ(h.server->live_requests(), 0);
  EXPECT_TRUE(h.server->Shutdown(50));  // again: nothing
}

TEST(LifecycleTest, TakenPortsAreNamed) {
  Harness h;
  SystemClock clock;
  SystemEntropy entropy;
  ServerOptions options = TestOptions();
  options.grpc_address = "127.0.0.1:" + std::to_string(h.server->grpc_port());
  auto grpc_taken = Server::Start(options, clock, entropy, nullptr);
  ASSERT_FALSE(grpc_taken.ok());
  EXPECT_EQ(grpc_taken.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(grpc_taken.status().message(), testing::HasSubstr(options.grpc_address));
  options = TestOptions();
  options.http_address = "127.0.0.1:" + std::to_string(h.server->http_port());
  auto http_taken = Server::Start(options, clock, entropy, nullptr);
  ASSERT_FALSE(http_taken.ok());
  EXPECT_THAT(http_taken.status().message(), testing::HasSubstr(options.http_address));
}

TEST(LifecycleTest, SidePortCanBeOff) {
  ServerOptions options = TestOptions();
  options.http_address = "";
  Harness h(options);
  EXPECT_EQ(h.server->http_port(), 0);
}

TEST(InfoTest, ModelsInfoAndLoad) {
  Harness h;
  auto models = v1::ModelService::NewStub(h.channel);
  grpc::ClientContext one;
  v1::ListModelsResponse list;
  ASSERT_TRUE(models->ListModels(&one, {}, &list).ok());
  ASSERT_EQ(list.models_size(), 1);
  EXPECT_EQ(list.models(0).id(), "test-model");
  EXPECT_EQ(list.models(0).max_model_len(), 1000);
  grpc::ClientContext two;
  v1::GetModelRequest get;
  get.set_model("alias");
  v1::Model model;
  EXPECT_TRUE(models->GetModel(&two, get, &model).ok());
  grpc::ClientContext three;
  get.set_model("nope");
  EXPECT_EQ(models->GetModel(&three, get, &model).error_code(), grpc::StatusCode::NOT_FOUND);

  auto servers = v1::ServerService::NewStub(h.channel);
  grpc::ClientContext four;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(servers->GetServerInfo(&four, {}, &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.state(), v1::SERVER_STATE_READY);
  EXPECT_EQ(info.total_kv_blocks(), 64);
  EngineStats stats;
  stats.running = 3;
  stats.blocks_total = 63;
  stats.blocks_used = 21;
  h.engine->SetStats(stats);
  grpc::ClientContext five;
  v1::GetLoadResponse load;
  ASSERT_TRUE(servers->GetLoad(&five, {}, &load).ok());
  EXPECT_EQ(load.engines(0).running_requests(), 3);
  EXPECT_NEAR(load.engines(0).kv_cache_usage(), 1.0 / 3, 1e-6);
}

template <typename Service, typename Request, typename Response>
void TestReflection(Harness& h) {
  auto stub = Service::NewStub(h.channel);
  grpc::ClientContext context;
  auto stream = stub->ServerReflectionInfo(&context);
  Request request;
  Response response;
  request.set_list_services("");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"inferd.v1.ChatService", "grpc.health.v1.Health"}));
  request.set_file_containing_symbol("inferd.v1.ChatService.StreamChatCompletion");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  // chat.proto and common.proto.
  EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 2);
  request.set_file_by_filename("google/protobuf/timestamp.proto");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 1);
  request.set_file_containing_symbol("no.such.Symbol");
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(ReflectionTest, V1AndV1Alpha) {
  Harness h;
  TestReflection<grpc::reflection::v1::ServerReflection,
                 grpc::reflection::v1::ServerReflectionRequest,
                 grpc::reflection::v1::ServerReflectionResponse>(h);
  TestReflection<grpc::reflection::v1alpha::ServerReflection,
                 grpc::reflection::v1alpha::ServerReflectionRequest,
                 grpc::reflection::v1alpha::ServerReflectionResponse>(h);
}

TEST(ReflectionTest, CanBeOff) {
  ServerOptions options = TestOptions();
  options.reflection = false;
  Harness h(options);
  grpc::ClientContext context;
  auto stream =
      grpc::reflection::v1::ServerReflection::NewStub(h.channel)->ServerReflectionInfo(&context);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace inferd
