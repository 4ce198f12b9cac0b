// How the ranks of a group share a model.
#pragma once

#include <string>

#include "inferd/base/status.h"
#include "inferd/comm/communicator.h"

namespace inferd {

// Pipeline stages of so many ranks each. The ranks of a stage form a grid: a linear
// layer's outputs are split over its rows, and over its columns the inputs (of the
// layers that put the parts together again, the other way round). One column is the
// usual tensor parallelism.
struct ParallelShape {
  int tp_rows = 1;
  int tp_columns = 1;
  int pp = 1;  // stages
  // The ranks of a stage (one column) do not split the layers: each keeps a part of the
  // bytes of every layer, which they put together ahead of its use, and computes its part
  // of a step's rows with whole layers. Heads and the vocabulary are split as ever.
  bool shard_weights = false;
  // Hosts that share out the ranks evenly, in order, when sums may go within hosts first; 1: they
  // do not.
  int sum_hosts = 1;

  int tp() const { return tp_rows * tp_columns; }  // ranks of a stage
  int ranks() const { return tp() * pp; }
  friend bool operator==(const ParallelShape&, const ParallelShape&) = default;
};

// Every number at least 1, and at most kMaxRanks ranks; no grid with shard_weights; the
// ranks can be shared out to sum_hosts.
Status CheckShape(const ParallelShape& shape);
// "tp 4, pp 2", with a grid "tp 2x2, pp 2", with shard_weights "tp 4, pp 2, weights
// sharded".
std::string ShapeText(const ParallelShape& shape);

// One rank's place in its group.
struct RankPlace {
  ParallelShape shape;
  int tp_rank = 0;  // row * tp_columns + column
  int pp_rank = 0;  // the stage

  int row() const { return tp_rank / shape.tp_columns; }
  int column() const { return tp_rank % shape.tp_columns; }
  int world_rank() const { return pp_rank * shape.tp() + tp_rank; }
  bool first_stage() const { return pp_rank == 0; }
  bool last_stage() const { return pp_rank + 1 == shape.pp; }
  // Whether this rank's results are those the engine takes.
  bool answers() const { return last_stage() && tp_rank == 0; }
};

// The place of a rank of a shape that CheckShape passed.
RankPlace PlaceOf(const ParallelShape& shape, int world_rank);

// Hidden states that a rank has computed and the next stage has not taken, each in memory of
// its own; it waits before there are more.
inline constexpr int kHiddenStatesInFlight = 2;

// What a rank says to the others with. The rank's thread calls them; they outlive it.
struct RankLinks {
  // The ranks of this stage, by tp_rank. Null when there is one; a group of one is summed
  // over all the same, which changes nothing.
  Communicator* tp = nullptr;
  // The ranks of this row of the grid, by column, and those of this column, by row;
  // null where there is one, and without a grid (tp_columns 1).
  Communicator* row = nullptr;
  Communicator* column = nullptr;
  // With the rank of this tp_rank in the stage before, which is rank 0 of the pair, and in
  // the next, which is rank 1; null at the ends.
  Communicator* previous = nullptr;
  Communicator* next = nullptr;
  // The ranks of this stage once more, for a thread that gathers weights; null without
  // shard_weights.
  Communicator* weights = nullptr;
  // With sum_hosts, where each of several hosts has several ranks of this stage: those of this
  // host, and, for the first of them, the first ones of all hosts. Else null.
  Communicator* local = nullptr;
  Communicator* leaders = nullptr;
};

}  // namespace inferd
