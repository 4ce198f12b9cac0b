#include "server/http_port.h"

#include <httplib.h>
#include <sys/socket.h>

#include <charconv>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace inferd {
namespace {

constexpr int kThreads = 4;
constexpr size_t kMaxWaiting = 64;
constexpr time_t kReadTimeoutSeconds = 2;
constexpr size_t kMaxPayloadBytes = 8 << 10;

// The library's own pool has a queue without limit. Here the accepting thread
// waits when the queue is full.
class BoundedTasks final : public httplib::TaskQueue {
 public:
  BoundedTasks() {
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
  }
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.size() < kMaxWaiting; });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Run() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
        changed_.notify_all();
      }
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  bool stop_ = false;
};

// "host:port" or "[v6]:port".
bool SplitAddress(const std::string& address, std::string* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  *host = address.substr(0, colon);
  if (host->size() > 2 && host->front() == '[' && host->back() == ']') {
    *host = host->substr(1, host->size() - 2);
  }
  const char* begin = address.data() + colon + 1;
  const char* end = address.data() + address.size();
  const auto parsed = std::from_chars(begin, end, *port);
  return parsed.ec == std::errc() && parsed.ptr == end && *port >= 0 && *port <= 65535;
}

class HttpPortImpl final : public HttpPort {
 public:
  explicit HttpPortImpl(HttpHandlers handlers) : handlers_(std::move(handlers)) {}
  ~HttpPortImpl() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status Listen(const std::string& address) {
    std::string host;
    int port = 0;
    if (!SplitAddress(address, &host, &port)) {
      return InvalidArgumentError("HTTP address " + address + ": must be host:port");
    }
    Configure();
    AddRoutes();
    if (port == 0) {
      port_ = server_.bind_to_any_port(host);
    } else if (server_.bind_to_port(host, port)) {
      port_ = port;
    }
    if (port_ <= 0) {
      port_ = 0;
      return UnavailableError("cannot listen for HTTP on " + address +
                              ": the address is taken or not of this machine");
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before the loop runs would be lost.
    while (!server_.is_running()) std::this_thread::yield();
    return OkStatus();
  }

  int port() const override { return port_; }

 private:
  void Configure() {
    // Without SO_REUSEPORT, so that a taken port is an error.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.new_task_queue = [] { return new BoundedTasks(); };
    server_.set_read_timeout(kReadTimeoutSeconds);
    server_.set_write_timeout(kReadTimeoutSeconds);
    server_.set_keep_alive_timeout(kReadTimeoutSeconds);
    server_.set_payload_max_length(kMaxPayloadBytes);
  }

  void AddRoutes() {
    using httplib::Request;
    using httplib::Response;
    server_.Get("/metrics", [this](const Request&, Response& response) {
      response.set_content(handlers_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
    });
    server_.Get("/healthz", [](const Request&, Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    const auto ready = [this](const Request&, Response& response) {
      const bool is_ready = handlers_.ready();
      response.status = is_ready ? 200 : 503;
      response.set_content(is_ready ? "ready\n" : "not ready\n", "text/plain");
    };
    server_.Get("/readyz", ready);
    server_.Get("/health", ready);
    server_.Get("/version", [this](const Request&, Response& response) {
      response.set_content(handlers_.version(), "application/json");
    });
  }

  HttpHandlers handlers_;
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace

StatusOr<std::unique_ptr<HttpPort>> HttpPort::Start(const std::string& address,
                                                    HttpHandlers handlers) {
  auto port = std::make_unique<HttpPortImpl>(std::move(handlers));
  INFERD_RETURN_IF_ERROR(port->Listen(address));
  return std::unique_ptr<HttpPort>(std::move(port));
}

}  // namespace inferd
