// Plans and results as bytes, for ranks that are processes. Fixed layout of
// little-endian numbers; no pointers. The bytes come from another process and are not
// trusted: decoding checks every count against what is left before it takes memory, and
// every index against what it points into.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/plan/batch_plan.h"
#include "inferd/plan/step_result.h"

namespace inferd {

// The bytes of a valid plan or result; replaces what `out` held. Any thread.
void EncodePlan(const BatchPlan& plan, std::vector<std::byte>& out);
void EncodeResult(const StepResult& result, std::vector<std::byte>& out);

// The same value again, bit by bit. DATA_LOSS for anything EncodePlan or EncodeResult
// could not have written: another version, a count or an index out of range, a flag
// that is neither 0 nor 1, an unknown status code, bytes that are missing or left over.
// Whether the plan makes sense for a rank is PlanChecker's to say.
StatusOr<BatchPlan> DecodePlan(std::span<const std::byte> bytes);
// DATA_LOSS as well for a token that is not below `vocab_size`; negative ones mean none.
StatusOr<StepResult> DecodeResult(std::span<const std::byte> bytes, TokenId vocab_size);

}  // namespace inferd
