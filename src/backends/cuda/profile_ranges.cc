#include "backends/cuda/profile_ranges.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#endif

namespace inferd {
namespace {

#if __has_include(<nvtx3/nvToolsExt.h>)
// One for the process: profilers keep what they heard of a domain.
nvtxDomainHandle_t Domain() {
  static nvtxDomainHandle_t domain = nvtxDomainCreateA("inferd");
  return domain;
}

void Push(const char* name, int32_t payload) {
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.payloadType = NVTX_PAYLOAD_TYPE_INT32;
  attributes.payload.iValue = payload;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name;
  (void)nvtxDomainRangePushEx(Domain(), &attributes);
}

void Pop() { (void)nvtxDomainRangePop(Domain()); }
#else
// A toolkit without NVTX's headers: nobody is told.
void Push(const char* /*name*/, int32_t /*payload*/) {}
void Pop() {}
#endif

}  // namespace

ProfileRanges::ProfileRanges(bool layers) : layers_(layers) {}

ProfileRanges::~ProfileRanges() { EndStep(); }

void ProfileRanges::Begin(const char* name, int32_t payload) {
  EndStep();
  Push(name, payload);
  open_ = 1;
}

void ProfileRanges::BeginStep(int32_t num_tokens) { Begin("step", num_tokens); }

void ProfileRanges::BeginPreparing(int32_t num_tokens) { Begin("record", num_tokens); }

void ProfileRanges::BeginLayer(int32_t layer) {
  if (!layers_ || open_ == 0) return;
  if (open_ == 2) Pop();
  Push("layer", layer);
  open_ = 2;
}

void ProfileRanges::EndStep() {
  for (; open_ > 0; --open_) Pop();
}

}  // namespace inferd
