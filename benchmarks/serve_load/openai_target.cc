#include "serve_load/openai_target.h"

#include <httplib.h>

#include <atomic>
#include <cmath>
#include <list>
#include <string>
#include <thread>
#include <utility>

#include "serve_load/event_stream.h"
#include "serve_load/openai_events.h"

namespace inferd::bench {
namespace {

// "host:port", with or without "http://" before it.
std::string Url(const std::string& address) {
  return address.find("://") == std::string::npos ? "http://" + address : address;
}

void ShowKey(const LoadOptions& options, httplib::Client& client) {
  if (!options.api_key.empty()) client.set_bearer_token_auth(options.api_key);
}

void SetTimeouts(httplib::Client& client, double seconds) {
  const auto whole = static_cast<time_t>(std::ceil(seconds));
  client.set_connection_timeout(whole);
  client.set_read_timeout(whole);
  client.set_write_timeout(whole);
  client.set_tcp_nodelay(true);
}

StatusCode CodeOf(int http_status) {
  if (http_status == 429) return StatusCode::kResourceExhausted;
  if (http_status == 503) return StatusCode::kUnavailable;
  return http_status >= 500 ? StatusCode::kInternal : StatusCode::kInvalidArgument;
}

StatusCode RunRequest(const LoadOptions& options, const Work& work, SteadyClock::time_point start,
                      RequestRecord& record) {
  bool complete = false;
  EventStream events([&](std::string_view data) {
    const CompletionEvent event = ParseCompletionEvent(data);
    if (!event.valid || event.error) return false;
    record.AddTokens(SecondsSince(start), event.tokens);
    if (event.completion_tokens >= 0) record.SetOutputTokens(event.completion_tokens);
    if (event.cached_tokens >= 0) record.cached_tokens = event.cached_tokens;
    complete = complete || event.done;
    return true;
  });
  httplib::Client client(Url(options.address));
  SetTimeouts(client, options.timeout_s);
  ShowKey(options, client);
  httplib::Request request;
  request.method = "POST";
  request.path = "/v1/completions";
  request.set_header("Content-Type", "application/json");
  request.body = CompletionBody(options, work);
  // The client's own time limits are for each read alone.
  const double last = SecondsSince(start) + options.timeout_s;
  bool late = false;
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    late = SecondsSince(start) > last;
    return !late && events.Feed({data, size});
  };
  const httplib::Result result = client.send(request);
  if (!result) {
    if (late) return StatusCode::kDeadlineExceeded;
    return result.error() == httplib::Error::Canceled ? StatusCode::kInternal
                                                      : StatusCode::kUnavailable;
  }
  if (result->status != 200) return CodeOf(result->status);
  return complete ? StatusCode::kOk : StatusCode::kInternal;
}

class OpenAiTarget final : public Target {
 public:
  explicit OpenAiTarget(const LoadOptions& options) : options_(options) {}
  ~OpenAiTarget() override {
    for (Running& running : running_) running.thread.join();
  }

  StatusOr<int32_t> VocabSize() override {
    httplib::Client client(Url(options_.address));
    SetTimeouts(client, 10);
    ShowKey(options_, client);
    const httplib::Result result = client.Get("/v1/models");
    if (!result) return UnavailableError(httplib::to_string(result.error()));
    if (result->status != 200) {
      return UnavailableError("/v1/models answers " + std::to_string(result->status));
    }
    const int32_t size = VocabSizeOf(result->body);
    if (size == 0)
      return UnavailableError(
          "/v1/models tells neither data[0].vocab_size nor data[0].meta.n_vocab");
    return size;
  }

  void Begin(const Work& work, SteadyClock::time_point start, RequestRecord& record,
             std::function<void()> done) override {
    JoinEnded();
    Running& running = running_.emplace_back();
    running.thread = std::thread([this, &work, start, &record, &running, done = std::move(done)] {
      record.code = static_cast<int>(RunRequest(options_, work, start, record));
      record.end = SecondsSince(start);
      running.ended.store(true);
      done();
    });
  }

 private:
  struct Running {
    std::thread thread;
    std::atomic<bool> ended{false};
  };

  void JoinEnded() {
    for (auto it = running_.begin(); it != running_.end();) {
      if (!it->ended.load()) {
        ++it;
        continue;
      }
      it->thread.join();
      it = running_.erase(it);
    }
  }

  const LoadOptions options_;
  std::list<Running> running_;  // at most the requests in flight, and those that just ended
};

}  // namespace

std::unique_ptr<Target> MakeOpenAiTarget(const LoadOptions& options) {
  return std::make_unique<OpenAiTarget>(options);
}

}  // namespace inferd::bench
