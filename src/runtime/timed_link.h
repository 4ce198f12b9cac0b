#pragma once

#include "inferd/base/clock.h"
#include "inferd/comm/communicator.h"

namespace inferd::runtime {

// Another communicator, with the time its messages took: waiting, nearly all of it.
class TimedLink final : public Communicator {
 public:
  TimedLink(Communicator& inner, const Clock& clock) : inner_(inner), clock_(clock) {}

  int64_t message_us() const { return message_us_; }

  int rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  Status AllReduce(const TensorView& x) override { return inner_.AllReduce(x); }
  Status ReduceScatter(const TensorView& in, const TensorView& out) override {
    return inner_.ReduceScatter(in, out);
  }
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    return inner_.AllGather(in, out);
  }
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    return inner_.AllToAll(in, out);
  }
  Status Broadcast(std::span<std::byte> data, int root) override {
    return inner_.Broadcast(data, root);
  }
  Status Barrier() override { return inner_.Barrier(); }
  Status Send(std::span<const std::byte> data, int to) override {
    const int64_t begin_us = clock_.NowUs();
    Status status = inner_.Send(data, to);
    message_us_ += clock_.NowUs() - begin_us;
    return status;
  }
  Status Recv(std::span<std::byte> data, int from) override {
    const int64_t begin_us = clock_.NowUs();
    Status status = inner_.Recv(data, from);
    message_us_ += clock_.NowUs() - begin_us;
    return status;
  }
  void Abort() override { inner_.Abort(); }

 private:
  Communicator& inner_;
  const Clock& clock_;
  int64_t message_us_ = 0;  // the rank's thread
};

}  // namespace inferd::runtime
