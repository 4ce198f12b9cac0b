#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "inferd/comm/communicator_decorator.h"

namespace inferd::testing {

// Another communicator, with the bytes a rank must send for what it calls: of an
// all-reduce of n bytes over N ranks 2 n (N - 1) / N, of a gather of n bytes in all
// n (N - 1) / N; no algorithm sends less.
class CountingLink final : public CommunicatorDecorator {
 public:
  explicit CountingLink(std::unique_ptr<Communicator> owned)
      : CommunicatorDecorator(*owned), owned_(std::move(owned)) {}

  double bytes = 0;
  int64_t calls = 0;

  Status AllReduce(const TensorView& x) override {
    Count(2.0 * static_cast<double>(x.NumBytes()));
    return inner().AllReduce(x);
  }
  Status ReduceScatter(const TensorView& in, const TensorView& out) override {
    Count(static_cast<double>(in.NumBytes()));
    return inner().ReduceScatter(in, out);
  }
  Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    Count(static_cast<double>(out.size()));
    return inner().AllGather(in, out);
  }
  Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    Count(static_cast<double>(in.size()));
    return inner().AllToAll(in, out);
  }
  Status Broadcast(std::span<std::byte> data, int root) override {
    Count(static_cast<double>(data.size()));
    return inner().Broadcast(data, root);
  }
  Status Send(std::span<const std::byte> data, int to) override {
    bytes += static_cast<double>(data.size());
    ++calls;
    return inner().Send(data, to);
  }

 private:
  // Of `whole` bytes all but a rank's own part.
  void Count(double whole) {
    bytes += whole * (world_size() - 1) / world_size();
    ++calls;
  }
  const std::unique_ptr<Communicator> owned_;
};

}  // namespace inferd::testing
