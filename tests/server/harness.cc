#include "harness.h"

#include <httplib.h>
#include <spdlog/sinks/base_sink.h>

#include <mutex>
#include <sstream>
#include <thread>

#include "google/rpc/status.pb.h"

namespace inferd {

// Keeps what is logged.
struct Harness::LogBuffer final : public spdlog::sinks::base_sink<std::mutex> {
  std::string Text() {
    std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    text_.append(message.payload.data(), message.payload.size());
    text_ += '\n';
  }
  void flush_() override {}
  std::string text_;
};

ServedModel TestModel() {
  ServedModel model;
  model.id = "test-model";
  model.aliases = {"alias"};
  model.architecture = "TestForCausalLM";
  model.dtype = "float32";
  model.backend = "fake";
  model.max_model_len = 1000;
  model.vocab_size = ByteTokenizer::kVocab;
  model.block_size = 16;
  model.num_blocks = 64;
  model.cache_dtype = "f32";
  model.max_running = 8;
  model.eos_tokens = {ByteTokenizer::kEos};
  model.tokenizer = std::make_shared<ByteTokenizer>();
  model.chat_template = std::make_shared<BracketTemplate>();
  return model;
}

ServerOptions TestOptions() {
  ServerOptions options;
  options.grpc_address = "127.0.0.1:0";
  options.http_address = "127.0.0.1:0";
  options.version = "1.2.3";
  return options;
}

Harness::Harness(const ServerOptions& options, bool attach) : log_(std::make_shared<LogBuffer>()) {
  auto logger = std::make_shared<spdlog::logger>("test", log_);
  auto started = Server::Start(options, clock, entropy, logger);
  if (!started.ok()) throw std::runtime_error(started.status().ToString());
  server = std::move(*started);
  engine = std::make_unique<FakeEngine>(server->sink());
  if (attach) Attach();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);      // however much a busy machine merges
  arguments.SetInt("grpc.enable_retries", 0);  // a retry would hide what is tested
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server->grpc_port()),
                                      grpc::InsecureChannelCredentials(), arguments);
  chat = v1::ChatService::NewStub(channel);
  completion = v1::CompletionService::NewStub(channel);
}

Harness::~Harness() {
  server->Shutdown(0);
  // The engine goes before the sink it posts to.
  engine.reset();
  server.reset();
}

void Harness::Attach(int32_t max_model_len) {
  ServedModel model = TestModel();
  if (max_model_len > 0) model.max_model_len = max_model_len;
  server->Attach(std::move(model), *engine);
}

std::string Harness::HttpGet(const std::string& path, int* status) {
  httplib::Client client("127.0.0.1", server->http_port());
  const auto response = client.Get(path.c_str());
  if (!response) return "";
  if (status != nullptr) *status = response->status;
  return response->body;
}

std::string Harness::ApiCall(const std::string& path, const std::string& body, int* status) {
  httplib::Client client("127.0.0.1", server->grpc_port());
  const auto response =
      body.empty() ? client.Get(path.c_str()) : client.Post(path.c_str(), body, "application/json");
  if (!response) return "";
  if (status != nullptr) *status = response->status;
  return response->body;
}

double Harness::Metric(const std::string& series) {
  std::istringstream lines(HttpGet("/metrics"));
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind(series + " ", 0) == 0) return std::stod(line.substr(series.size() + 1));
  }
  return -1;
}

bool Harness::WaitForMetric(const std::string& series, double value) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    if (Metric(series) == value) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::string Harness::Log() { return log_->Text(); }

v1::ChatCompletionRequest Ask(const std::string& text) {
  v1::ChatCompletionRequest request;
  v1::ChatMessage* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_content()->set_text(text);
  return request;
}

OpenChat::OpenChat(Harness& harness, const v1::ChatCompletionRequest& request)
    : reader(harness.chat->StreamChatCompletion(&context, request)) {
  auto submitted = harness.engine->WaitForRequest();
  if (!submitted) throw std::runtime_error("the request did not reach the engine");
  spec = std::move(*submitted);
}

Streamed ReadAll(grpc::ClientReader<v1::ChatCompletionChunk>& reader) {
  Streamed result;
  v1::ChatCompletionChunk chunk;
  while (reader.Read(&chunk)) {
    result.chunks.push_back(chunk);
    for (const v1::ChunkChoice& choice : chunk.choices()) {
      result.text[choice.index()] += choice.delta().content();
      if (choice.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
        result.finish[choice.index()] = choice.finish_reason();
      }
      if (choice.has_matched_stop()) result.matched[choice.index()] = choice.matched_stop();
    }
    if (chunk.has_usage()) result.usage = chunk.usage();
  }
  result.status = reader.Finish();
  return result;
}

Streamed StreamChat(Harness& harness, const v1::ChatCompletionRequest& request) {
  grpc::ClientContext context;
  auto reader = harness.chat->StreamChatCompletion(&context, request);
  return ReadAll(*reader);
}

template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return std::nullopt;
  for (const auto& any : rich.details()) {
    Detail detail;
    if (any.Is<Detail>() && any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}
template std::optional<google::rpc::ErrorInfo> DetailOf(const grpc::Status&);
template std::optional<google::rpc::BadRequest> DetailOf(const grpc::Status&);
template std::optional<google::rpc::RetryInfo> DetailOf(const grpc::Status&);
template std::optional<google::rpc::ResourceInfo> DetailOf(const grpc::Status&);
template std::optional<google::rpc::QuotaFailure> DetailOf(const grpc::Status&);

std::string ReasonOf(const grpc::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info && info->domain() == "inferd" ? info->reason() : "";
}

}  // namespace inferd
