#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "inferd/comm/communicator_decorator.h"

namespace inferd::runtime {

// A communicator whose messages a thread of its own sends, so that the rank goes on with
// the next step meanwhile. Nothing else may be called on it, and nobody else calls the
// inner one. Destruction breaks the group.
class BackgroundSender final : public CommunicatorDecorator {
 public:
  // Up to `capacity` messages wait or are under way. May throw std::system_error when there
  // is no thread to be had.
  BackgroundSender(Communicator& inner, size_t capacity);
  ~BackgroundSender() override;
  BackgroundSender(const BackgroundSender&) = delete;
  BackgroundSender& operator=(const BackgroundSender&) = delete;

  // Copies the message; waits for room. An error is that of any message before.
  Status Send(std::span<const std::byte> data, int to) override;

 private:
  struct Message {
    std::vector<std::byte> data;
    int to = 0;
  };
  void Loop();

  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> waiting_;                // guarded by mutex_; the first one may be under way
  std::vector<std::vector<std::byte>> spare_;  // guarded by mutex_; memory of those sent
  Status broken_;                              // guarded by mutex_
  bool stop_ = false;                          // guarded by mutex_
  std::thread thread_;
};

}  // namespace inferd::runtime
