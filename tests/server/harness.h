// A server on free ports with a fake engine behind it, and clients for it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "fakes.h"
#include "google/rpc/error_details.pb.h"
#include "inferd/server/server.h"
#include "inferd/v1/chat.grpc.pb.h"
#include "inferd/v1/services.grpc.pb.h"

namespace inferd {

ServedModel TestModel();
ServerOptions TestOptions();

class Harness {
 public:
  explicit Harness(const ServerOptions& options = TestOptions(), bool attach = true);
  ~Harness();

  // The model of TestModel, with contexts of so many tokens; 0: its own.
  void Attach(int32_t max_model_len = 0);
  // GET on the side port: the body, and the HTTP status.
  std::string HttpGet(const std::string& path, int* status = nullptr);
  // The same on the main port; a POST when there is a body.
  std::string ApiCall(const std::string& path, const std::string& body, int* status = nullptr);
  // The value of the series whose line starts with `series` and a space; -1: none.
  double Metric(const std::string& series);
  // Waits up to ten seconds for it.
  bool WaitForMetric(const std::string& series, double value);
  // Lines logged so far.
  std::string Log();

  SystemClock clock;
  SystemEntropy entropy;
  std::unique_ptr<Server> server;
  std::unique_ptr<FakeEngine> engine;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ChatService::Stub> chat;
  std::unique_ptr<v1::CompletionService::Stub> completion;

 private:
  struct LogBuffer;
  std::shared_ptr<LogBuffer> log_;
};

v1::ChatCompletionRequest Ask(const std::string& text);

// A chat stream that is under way.
struct OpenChat {
  // Returns once the engine has the request; throws when it never gets it.
  OpenChat(Harness& harness, const v1::ChatCompletionRequest& request);

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::ChatCompletionChunk>> reader;
  RequestSpec spec;
};

// A finished stream, put together again.
struct Streamed {
  grpc::Status status;
  std::vector<v1::ChatCompletionChunk> chunks;
  std::map<int, std::string> text;  // per choice
  std::map<int, v1::FinishReason> finish;
  std::map<int, v1::MatchedStop> matched;
  std::optional<v1::Usage> usage;
};
Streamed ReadAll(grpc::ClientReader<v1::ChatCompletionChunk>& reader);
Streamed StreamChat(Harness& harness, const v1::ChatCompletionRequest& request);

// The details of an error; nothing when it has none of that kind.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status);
extern template std::optional<google::rpc::ErrorInfo> DetailOf(const grpc::Status&);
extern template std::optional<google::rpc::BadRequest> DetailOf(const grpc::Status&);
extern template std::optional<google::rpc::RetryInfo> DetailOf(const grpc::Status&);
extern template std::optional<google::rpc::ResourceInfo> DetailOf(const grpc::Status&);
extern template std::optional<google::rpc::QuotaFailure> DetailOf(const grpc::Status&);
std::string ReasonOf(const grpc::Status& status);

}  // namespace inferd
