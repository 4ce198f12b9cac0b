// The fused ops as compositions of the required ones: what a backend that has
// only those runs, and what a fused override is compared with.
#include "inferd/ops/ops.h"

namespace inferd {

void Ops::AddRmsNorm(TensorView x, TensorView y, const VectorWeight& weight, float eps,
                     TensorView out) {
  Add(x, y);
  RmsNorm(x, weight, eps, out);
}

StatusOr<std::unique_ptr<DeviceGroup>> Ops::MakeGroup(Communicator& /*host*/,
                                                      const DeviceGroupOptions& /*options*/,
                                                      const Clock& /*clock*/) {
  return std::unique_ptr<DeviceGroup>();
}

Status Ops::AllReduceAddRmsNorm(Communicator& group, TensorView x, TensorView y,
                                const VectorWeight& weight, float eps, TensorView out) {
  INFERD_RETURN_IF_ERROR(group.AllReduce(y));
  AddRmsNorm(x, y, weight, eps, out);
  return OkStatus();
}

void Ops::RopeAppendKv(const StepPlan& plan, const RopeTable& table, TensorView qkv,
                       int32_t num_q_heads, const KvLayerView& kv) {
  // Queries and keys lie side by side in a row, so one call rotates both.
  Rope(plan, table, qkv, num_q_heads + kv.spec.num_kv_heads, kv.spec.head_dim);
  AppendKv(plan, qkv, num_q_heads, kv);
}

}  // namespace inferd
