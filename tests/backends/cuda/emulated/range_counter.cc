// A profiler for NVTX_INJECTION64_PATH that keeps the ranges it is told of.
#include "backends/cuda/emulated/range_counter.h"

#include <nvtx3/nvToolsExt.h>

#include <cstring>
#include <mutex>

namespace {

std::mutex mutex;
RangeCounts counts;

int Push(nvtxDomainHandle_t /*domain*/, const nvtxEventAttributes_t* event) {
  const std::lock_guard lock(mutex);
  const bool layer = std::strcmp(event->message.ascii, "layer") == 0;
  const bool record = std::strcmp(event->message.ascii, "record") == 0;
  ++(layer ? counts.layers : record ? counts.records : counts.steps);
  (layer ? counts.layer_sum : counts.token_sum) += event->payload.iValue;
  ++counts.open;
  if (counts.open > counts.deepest) counts.deepest = counts.open;
  return counts.open - 1;
}

int Pop(nvtxDomainHandle_t /*domain*/) {
  const std::lock_guard lock(mutex);
  return --counts.open;
}

}  // namespace

extern "C" {

void inferd_range_counts(RangeCounts* to) {
  const std::lock_guard lock(mutex);
  *to = counts;
  counts.deepest = counts.open;
}

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0) {
    return 0;
  }
  *table[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(&Push);
  *table[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(&Pop);
  return 1;
}

}  // extern "C"
