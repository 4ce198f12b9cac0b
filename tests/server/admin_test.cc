// The admin service: who may use it, and what it does to live requests.
#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "harness.h"
#include "inferd/v1/admin.grpc.pb.h"

namespace inferd {
namespace {

using testing::HasSubstr;

// sha256 of "one" and "two".
constexpr char kAdminFile[] =
    "keys:\n"
    "  - id: user\n"
    "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n"
    "    tenant: team\n"
    "  - id: operator\n"
    "    sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3\n"
    "    admin: true\n";

class AdminTest : public testing::Test {
 protected:
  void Start(bool keys, bool socket) {
    ServerOptions options = TestOptions();
    path_ = testing::TempDir() + "/inferd_admin_" + std::to_string(getpid());
    options.admin_address = socket ? "unix:" + path_ : "127.0.0.1:0";
    if (keys) options.api_keys = *KeyRing::Parse(kAdminFile, "test");
    options.admin.reload = [this]() -> StatusOr<ReloadReport> {
      ++reloads_;
      if (!reload_status_.ok()) return reload_status_;
      return ReloadReport{{"log.level debug"}, {"server.port"}};
    };
    options.admin.set_log_level = [this](const std::string& level) {
      level_ = level;
      return level == "loud" ? InvalidArgumentError("log.level: no such level") : OkStatus();
    };
    harness_ = std::make_unique<Harness>(options);
    const std::string address = socket
                                    ? options.admin_address
                                    : "127.0.0.1:" + std::to_string(harness_->server->admin_port());
    stub_ =
        v1::AdminService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }

  std::unique_ptr<grpc::ClientContext> With(const std::string& key) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    if (!key.empty()) context->AddMetadata("authorization", "Bearer " + key);
    return context;
  }
  grpc::Status Reload(const std::string& key = "") {
    reload_ = {};
    return stub_->ReloadConfig(With(key).get(), {}, &reload_);
  }
  v1::ListRequestsResponse List(int limit = 0) {
    v1::ListRequestsRequest request;
    if (limit != 0) request.set_limit(limit);
    v1::ListRequestsResponse response;
    EXPECT_TRUE(stub_->ListRequests(With("two").get(), request, &response).ok());
    return response;
  }

  std::string path_;
  std::unique_ptr<Harness> harness_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
  v1::ReloadConfigResponse reload_;
  int reloads_ = 0;
  Status reload_status_;
  std::string level_;
};

TEST_F(AdminTest, ASocketIsItsOwnersAlone) {
  Start(/*keys=*/true, /*socket=*/true);
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_TRUE(Reload().ok());  // the file's mode says who may
  EXPECT_EQ(reloads_, 1);
}

TEST_F(AdminTest, APortAsksForAnAdminKey) {
  Start(/*keys=*/true, /*socket=*/false);
  EXPECT_EQ(Reload().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Reload("wrong").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Reload("one").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(reloads_, 0);
  EXPECT_TRUE(Reload("two").ok());
  EXPECT_EQ(reloads_, 1);
  EXPECT_THAT(harness_->Log(), HasSubstr("admin: ReloadConfig OK by operator"));
}

TEST_F(AdminTest, WithoutKeysAPortAsksNobody) {
  Start(/*keys=*/false, /*socket=*/false);
  EXPECT_TRUE(Reload().ok());
  EXPECT_EQ(reload_.applied(0), "log.level debug");
  EXPECT_EQ(reload_.restart_required(0), "server.port");
}

TEST_F(AdminTest, TheMainPortDoesNotKnowIt) {
  Start(/*keys=*/false, /*socket=*/false);
  auto main = v1::AdminService::NewStub(harness_->channel);
  v1::ReloadConfigResponse response;
  EXPECT_EQ(main->ReloadConfig(With("").get(), {}, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(reloads_, 0);
}

TEST_F(AdminTest, SaysWhatIsWrong) {
  Start(/*keys=*/false, /*socket=*/true);
  reload_status_ = InvalidArgumentError("engine.depth: too deep");
  const grpc::Status bad = Reload();
  EXPECT_EQ(bad.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(bad.error_message(), "engine.depth: too deep");
  v1::SetLogLevelRequest level;
  v1::SetLogLevelResponse nothing;
  level.set_level("debug");
  EXPECT_TRUE(stub_->SetLogLevel(With("").get(), level, &nothing).ok());
  EXPECT_EQ(level_, "debug");
  level.set_level("loud");
  EXPECT_EQ(stub_->SetLogLevel(With("").get(), level, &nothing).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListRequestsRequest list;
  v1::ListRequestsResponse requests;
  for (const int limit : {0, -1, 10'001}) {
    list.set_limit(limit);
    EXPECT_EQ(stub_->ListRequests(With("").get(), list, &requests).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  v1::AbortRequestRequest abort;
  v1::AbortRequestResponse aborted;
  abort.set_request_id("nobody");
  EXPECT_EQ(stub_->AbortRequest(With("").get(), abort, &aborted).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(AdminTest, ListsAndAbortsLiveRequests) {
  Start(/*keys=*/true, /*socket=*/true);
  EXPECT_EQ(List().requests_size(), 0);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer one");
  context.AddMetadata("x-request-id", "the-request");
  context.AddMetadata("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  auto reader = harness_->chat->StreamChatCompletion(&context, Ask("a secret question"));
  const auto spec = harness_->engine->WaitForRequest();
  ASSERT_TRUE(spec.has_value());
  v1::ListRequestsResponse live = List();
  ASSERT_EQ(live.requests_size(), 1);
  EXPECT_EQ(live.requests(0).request_id(), "the-request");
  EXPECT_EQ(live.requests(0).method(), "ChatService/StreamChatCompletion");
  EXPECT_EQ(live.requests(0).state(), v1::REQUEST_STATE_WAITING);
  EXPECT_EQ(live.requests(0).tenant(), "team");
  EXPECT_EQ(live.requests(0).key_id(), "user");
  EXPECT_EQ(live.requests(0).trace_id(), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(live.requests(0).prompt_tokens(), static_cast<int>(spec->prompt.size()));
  EXPECT_GE(live.requests(0).age_ms(), 0);
  EXPECT_EQ(live.DebugString().find("secret"), std::string::npos);
  harness_->engine->Post({Token(spec->id, 'a')});
  v1::ChatCompletionChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  live = List();
  EXPECT_EQ(live.requests(0).state(), v1::REQUEST_STATE_RUNNING);
  EXPECT_EQ(live.requests(0).completion_tokens(), 1);
  EXPECT_FALSE(live.truncated());

  v1::AbortRequestRequest abort;
  v1::AbortRequestResponse aborted;
  abort.set_request_id("the-request");
  EXPECT_TRUE(stub_->AbortRequest(With("").get(), abort, &aborted).ok());
  EXPECT_EQ(aborted.aborted(), 1);
  while (reader->Read(&chunk)) {
  }
  const grpc::Status ended = reader->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(ReasonOf(ended), "ABORTED_BY_ADMIN");
  EXPECT_TRUE(harness_->engine->WaitForCancel(spec->id));
  EXPECT_EQ(List().requests_size(), 0);
}

TEST_F(AdminTest, TheOldestFirstUpToALimit) {
  Start(/*keys=*/false, /*socket=*/true);
  OpenChat first(*harness_, Ask("1"));
  OpenChat second(*harness_, Ask("2"));
  const v1::ListRequestsResponse all = List();
  const v1::ListRequestsResponse one = List(1);
  ASSERT_EQ(all.requests_size(), 2);
  ASSERT_EQ(one.requests_size(), 1);
  EXPECT_FALSE(all.truncated());
  EXPECT_TRUE(one.truncated());
  EXPECT_GE(all.requests(0).age_ms(), all.requests(1).age_ms());
  EXPECT_EQ(one.requests(0).request_id(), all.requests(0).request_id());
}

TEST_F(AdminTest, DrainingLeavesTheProcessServing) {
  Start(/*keys=*/false, /*socket=*/true);
  v1::StartDrainingResponse response;
  EXPECT_TRUE(stub_->StartDraining(With("").get(), {}, &response).ok());
  EXPECT_EQ(response.live_requests(), 0);
  EXPECT_EQ(harness_->server->state(), ServerState::kDraining);
  harness_->engine->Play(
      [](const RequestSpec& spec) { return TextEvents(spec.id, "x", FinishReason::kLength); });
  EXPECT_TRUE(StreamChat(*harness_, Ask("hi")).status.ok());
}

TEST_F(AdminTest, ATakenAddressIsSaid) {
  Start(/*keys=*/false, /*socket=*/false);
  ServerOptions options = TestOptions();
  options.admin_address = "127.0.0.1:" + std::to_string(harness_->server->admin_port());
  SystemClock clock;
  SystemEntropy entropy;
  const auto second = Server::Start(options, clock, entropy, nullptr);
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr(options.admin_address));
}

}  // namespace
}  // namespace inferd
