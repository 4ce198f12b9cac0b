#include "inferd/model/parallel.h"

namespace inferd {

Status CheckShape(const ParallelShape& shape) {
  const bool positive = shape.tp_rows >= 1 && shape.tp_columns >= 1 && shape.pp >= 1;
  const bool small =
      shape.tp_rows <= kMaxRanks && shape.tp_columns <= kMaxRanks && shape.pp <= kMaxRanks;
  if (shape.shard_weights && shape.tp_columns != 1) {
    return FailedPreconditionError("the ranks of a grid cannot shard weights");
  }
  if (positive && (shape.sum_hosts < 1 || shape.ranks() % shape.sum_hosts != 0)) {
    return FailedPreconditionError("the ranks cannot be shared out to the hosts");
  }
  if (positive && small && shape.ranks() <= kMaxRanks) return OkStatus();
  return FailedPreconditionError("a group must have 1 to " + std::to_string(kMaxRanks) +
                                 " ranks, not " + ShapeText(shape));
}

std::string ShapeText(const ParallelShape& shape) {
  std::string text = "tp " + std::to_string(shape.tp_rows);
  if (shape.tp_columns != 1) text += "x" + std::to_string(shape.tp_columns);
  text += ", pp " + std::to_string(shape.pp);
  return shape.shard_weights ? text + ", weights sharded" : text;
}

RankPlace PlaceOf(const ParallelShape& shape, int world_rank) {
  return {shape, world_rank % shape.tp(), world_rank / shape.tp()};
}

}  // namespace inferd
