#include "inferd/comm/hierarchical_all_reduce.h"

#include <utility>

#include "inferd/comm/communicator_decorator.h"

namespace inferd {
namespace {

class HierarchicalAllReduce final : public CommunicatorDecorator {
 public:
  HierarchicalAllReduce(Communicator& all, Communicator& local, Communicator* leaders)
      : CommunicatorDecorator(all), local_(local), leaders_(leaders) {}

  Status AllReduce(const TensorView& x) override {
    if (x.dtype != DType::kF32 && x.dtype != DType::kBF16) return inner().AllReduce(x);
    if (!broken_.ok()) return broken_;
    Status status = Reduce(x);
    if (status.ok()) return status;
    // Ranks of other hosts wait in other communicators than the one that failed.
    broken_ = std::move(status);
    Abort();
    return broken_;
  }

  void Abort() override {
    inner().Abort();
    local_.Abort();
    if (leaders_ != nullptr) leaders_->Abort();
  }

 private:
  Status Reduce(const TensorView& x) {
    INFERD_RETURN_IF_ERROR(local_.AllReduce(x));
    if (leaders_ != nullptr) INFERD_RETURN_IF_ERROR(leaders_->AllReduce(x));
    return local_.Broadcast({static_cast<std::byte*>(x.data), static_cast<size_t>(x.NumBytes())},
                            /*root=*/0);
  }

  Communicator& local_;
  Communicator* const leaders_;
  Status broken_;
};

}  // namespace

std::unique_ptr<Communicator> MakeHierarchicalAllReduce(Communicator& all, Communicator& local,
                                                        Communicator* leaders) {
  return std::make_unique<HierarchicalAllReduce>(all, local, leaders);
}

}  // namespace inferd
