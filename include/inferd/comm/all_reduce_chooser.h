// Which all-reduce is quickest for messages of which size, measured at the start.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/clock.h"
#include "inferd/comm/communicator_decorator.h"

namespace inferd {

enum class AllReduceKind : uint8_t {
  kPlain,         // the group's own
  kHierarchical,  // within hosts, then between them
  kInt8,          // the group's own, with 8-bit blocks
  kFp8,
};
inline constexpr size_t kNumAllReduceKinds = 4;
std::string_view AllReduceKindName(AllReduceKind kind);

// What an operator allows.
enum class AllReduceMode : uint8_t {
  kAuto,          // plain: all bits, and the same ones at every start
  kExact,         // the same
  kHierarchical,  // plain or hierarchical, where that is quicker: all bits, in either order
  kAlwaysHierarchical,
  kInt8,  // these as well, where they are quicker
  kFp8,
  kAlwaysInt8,  // whatever is quicker
  kAlwaysFp8,
};
// "auto", "exact", "hierarchical", "always-hierarchical", "int8", "fp8", "always-int8" or
// "always-fp8".
std::optional<AllReduceMode> ParseAllReduceMode(std::string_view name);

struct AllReduceChooserOptions {
  AllReduceMode mode = AllReduceMode::kAuto;
  // The longest message that will be summed; longer ones go the way of the longest class.
  int64_t max_bytes = 4 << 20;
  int repetitions = 5;  // per kind and size, after one that is not counted; 1 to 100
  // For kHierarchical, as MakeHierarchicalAllReduce takes them; null where there is one
  // host. All ranks have `local`, or none has.
  Communicator* local = nullptr;
  Communicator* leaders = nullptr;
};

// One class of sizes.
struct AllReduceChoice {
  int64_t measured_bytes = 0;
  int64_t max_bytes = 0;  // messages up to here, from the class before on
  AllReduceKind kind = AllReduceKind::kPlain;
  // What the slowest rank took, by kind; -1: not allowed or not there.
  std::array<int64_t, kNumAllReduceKinds> ns{};
};

// A communicator whose AllReduce goes the chosen way; everything else goes to the group.
class ChosenAllReduce : public CommunicatorDecorator {
 public:
  using CommunicatorDecorator::CommunicatorDecorator;
  // Measures and chooses; until then everything goes the plain way. All ranks of the group
  // call it, at the same place among their calls; rank 0 decides by the slowest rank's
  // medians and tells the others, so that all go the same way. Where only one kind is
  // allowed, nothing is measured.
  virtual Status Choose() = 0;
  // One that holds for all sizes before Choose().
  virtual const std::vector<AllReduceChoice>& choices() const = 0;
  // "plain up to 16384 bytes (12 us), int8 above (340 us)", or the only one: for the log.
  virtual std::string Summary() const = 0;
};

// Says nothing to the other ranks, which have the same mode, sizes and repetitions. `all`,
// the communicators of the options and `clock` outlive the result and are used by its
// thread.
StatusOr<std::unique_ptr<ChosenAllReduce>> MakeChosenAllReduce(
    Communicator& all, const AllReduceChooserOptions& options, const Clock& clock);

}  // namespace inferd
