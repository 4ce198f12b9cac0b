// An HTTP exchange without a network, driven by hand.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "inferd/net/http.h"

namespace inferd {

// Takes what a handler answers. Writes wait for the test's word unless `eager`. After
// Disconnect all calls do nothing, as the contract says. Thread-safe.
class FakeExchange final : public HttpExchange {
 public:
  // `eager`: each Write is with the client at once.
  explicit FakeExchange(bool eager = true) : eager_(eager) {}

  void Respond(HttpResponse response) override {
    std::lock_guard lock(mutex_);
    if (gone_) return;
    ++ends_;
    wrong_ |= !stream_.empty() || writing_;
    response_ = std::move(response);
    changed_.notify_all();
  }
  void SetEvents(std::shared_ptr<HttpExchangeEvents> events) override {
    std::lock_guard lock(mutex_);
    wrong_ |= events_ != nullptr;
    events_ = std::move(events);
  }
  void StartStream(HttpResponse head) override {
    std::lock_guard lock(mutex_);
    if (gone_) return;
    wrong_ |= head_.has_value();
    head_ = std::move(head);
  }
  void Write(std::string bytes) override {
    {
      std::lock_guard lock(mutex_);
      if (gone_) return;
      wrong_ |= writing_ || !head_ || ends_ > 0 || bytes.empty();
      stream_ += bytes;
      writes_.push_back(std::move(bytes));
      writing_ = true;
      changed_.notify_all();
      if (!eager_) return;
    }
    FinishWrite(true);
  }
  void Finish(bool complete) override {
    std::lock_guard lock(mutex_);
    if (gone_) return;
    wrong_ |= writing_ || !head_;
    ++ends_;
    complete_ = complete;
    changed_.notify_all();
  }

  // --- for tests
  void FinishWrite(bool ok) {
    std::shared_ptr<HttpExchangeEvents> events;
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      events = events_;
    }
    if (events) events->OnWritten(ok);
  }
  // From now on writes are with the client at once, the one under way too.
  void BeEager() {
    bool waiting = false;
    {
      std::lock_guard lock(mutex_);
      eager_ = true;
      waiting = writing_;
    }
    if (waiting) FinishWrite(true);
  }
  void Disconnect() {
    std::shared_ptr<HttpExchangeEvents> events;
    {
      std::lock_guard lock(mutex_);
      gone_ = true;
      events = std::move(events_);
    }
    if (events) events->OnDisconnect();
  }
  bool WaitForEnd() {
    return Wait([this] { return ends_ > 0; });
  }
  bool WaitForWrites(size_t count) {
    return Wait([this, count] { return writes_.size() >= count; });
  }
  HttpResponse response() const {
    std::lock_guard lock(mutex_);
    return response_.value_or(HttpResponse{0, {}, {}, {}});
  }
  std::optional<HttpResponse> head() const {
    std::lock_guard lock(mutex_);
    return head_;
  }
  std::string stream() const {
    std::lock_guard lock(mutex_);
    return stream_;
  }
  std::vector<std::string> writes() const {
    std::lock_guard lock(mutex_);
    return writes_;
  }
  int ends() const {
    std::lock_guard lock(mutex_);
    return ends_;
  }
  bool complete() const {
    std::lock_guard lock(mutex_);
    return complete_;
  }
  // A call that the contract forbids was made.
  bool wrong() const {
    std::lock_guard lock(mutex_);
    return wrong_;
  }

 private:
  template <typename Predicate>
  bool Wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), predicate);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool eager_;
  bool writing_ = false;
  bool gone_ = false;
  bool wrong_ = false;
  bool complete_ = false;
  int ends_ = 0;
  std::shared_ptr<HttpExchangeEvents> events_;
  std::optional<HttpResponse> response_;
  std::optional<HttpResponse> head_;
  std::string stream_;
  std::vector<std::string> writes_;
};

inline std::string HeaderOf(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

}  // namespace inferd
