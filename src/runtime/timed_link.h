#pragma once

#include "inferd/base/clock.h"
#include "inferd/comm/communicator_decorator.h"

namespace inferd::runtime {

// Another communicator, with the time its messages took: waiting, nearly all of it.
class TimedLink final : public CommunicatorDecorator {
 public:
  TimedLink(Communicator& inner, const Clock& clock)
      : CommunicatorDecorator(inner), clock_(clock) {}

  int64_t message_us() const { return message_us_; }

  Status Send(std::span<const std::byte> data, int to) override {
    const int64_t begin_us = clock_.NowUs();
    Status status = inner().Send(data, to);
    message_us_ += clock_.NowUs() - begin_us;
    return status;
  }
  Status Recv(std::span<std::byte> data, int from) override {
    const int64_t begin_us = clock_.NowUs();
    Status status = inner().Recv(data, from);
    message_us_ += clock_.NowUs() - begin_us;
    return status;
  }

 private:
  const Clock& clock_;
  int64_t message_us_ = 0;  // the rank's thread
};

}  // namespace inferd::runtime
