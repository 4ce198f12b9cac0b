#include "comm/fabric.h"

#include <string>
#include <string_view>

namespace inferd {
namespace {

std::string_view KindName(CallKind kind) {
  switch (kind) {
    case CallKind::kAllReduce:
      return "all-reduce";
    case CallKind::kReduceScatter:
      return "reduce-scatter";
    case CallKind::kAllGather:
      return "all-gather";
    case CallKind::kAllToAll:
      return "all-to-all";
    case CallKind::kBroadcast:
      return "broadcast";
    case CallKind::kBarrier:
      return "barrier";
    case CallKind::kMessage:
      return "message";
  }
  return "unknown call";
}

std::string Describe(const CallHeader& header) {
  return std::string(KindName(header.kind)) + " number " + std::to_string(header.sequence) +
         " of " + std::to_string(header.total_bytes) + " bytes at " +
         std::to_string(header.offset) + " (detail " + std::to_string(header.detail) + ")";
}

}  // namespace

Status HeaderMismatch(const CallHeader& ours, const CallHeader& theirs, int peer) {
  return FailedPreconditionError("the ranks disagree: rank " + std::to_string(peer) + " calls " +
                                 Describe(theirs) + ", this rank " + Describe(ours));
}

}  // namespace inferd
