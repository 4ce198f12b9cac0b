#pragma once

#include "inferd/comm/communicator.h"

namespace inferd {

// Everything but AllReduce as another communicator does it.
class AllReduceDecorator : public Communicator {
 public:
  explicit AllReduceDecorator(Communicator& inner) : inner_(inner) {}

  int rank() const final { return inner_.rank(); }
  int world_size() const final { return inner_.world_size(); }
  Status ReduceScatter(const TensorView& in, const TensorView& out) final {
    return inner_.ReduceScatter(in, out);
  }
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) final {
    return inner_.AllGather(in, out);
  }
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) final {
    return inner_.AllToAll(in, out);
  }
  Status Broadcast(std::span<std::byte> data, int root) final {
    return inner_.Broadcast(data, root);
  }
  Status Barrier() final { return inner_.Barrier(); }
  Status Send(std::span<const std::byte> data, int to) final { return inner_.Send(data, to); }
  Status Recv(std::span<std::byte> data, int from) final { return inner_.Recv(data, from); }
  void Abort() override { inner_.Abort(); }

 protected:
  Communicator& inner() const { return inner_; }

 private:
  Communicator& inner_;
};

}  // namespace inferd
