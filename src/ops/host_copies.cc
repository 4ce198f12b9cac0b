// How a backend whose memory is the host's fills and copies it.
#include <cstring>

#include "inferd/ops/ops.h"

namespace inferd {

void Ops::Fill(void* data, uint8_t value, size_t bytes) {
  if (bytes > 0) std::memset(data, value, bytes);
}

void Ops::CopyIn(void* data, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(data, host, bytes);
}

Status Ops::CopyOut(void* host, const void* data, size_t bytes) {
  INFERD_RETURN_IF_ERROR(Finish());
  if (bytes > 0) std::memcpy(host, data, bytes);
  return OkStatus();
}

}  // namespace inferd
