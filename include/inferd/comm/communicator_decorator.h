#pragma once

#include <cstddef>
#include <span>

#include "inferd/comm/communicator.h"

namespace inferd {

// Another communicator, which outlives it; what is to be different is overridden.
class CommunicatorDecorator : public Communicator {
 public:
  explicit CommunicatorDecorator(Communicator& inner) : inner_(inner) {}

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
  Status Send(std::span<const std::byte> data, int to) override { return inner_.Send(data, to); }
  Status Recv(std::span<std::byte> data, int from) override { return inner_.Recv(data, from); }
  void Abort() override { inner_.Abort(); }

 protected:
  Communicator& inner() const { return inner_; }

 private:
  Communicator& inner_;
};

}  // namespace inferd
