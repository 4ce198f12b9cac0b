// Where a model's weights come from: the checkpoint, packed now, or a file in which
// they were kept packed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "inferd/model/checkpoint.h"
#include "inferd/ops/ops.h"
#include "model/linear_source.h"
#include "model/packed_appender.h"
#include "model/packed_file.h"
#include "model/shard_rules.h"

namespace inferd::model {

// The loading thread.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The block of the linear layer <prefix><name> of each part, joined, with its part of
  // <name>.bias if `bias`. Blocks of later inputs are summed with those of the first,
  // which alone have the bias.
  virtual StatusOr<LinearWeight> Linear(const std::string& prefix,
                                        std::span<const LinearPart> parts, bool bias) = 0;
  virtual StatusOr<VectorWeight> Vector(const std::string& name) = 0;
  // What was given so far is all that is needed of the tensors read for it.
  virtual void ReleasePages() = 0;
};

// Packs the checkpoint's tensors.
class PackingSource final : public WeightSource {
 public:
  PackingSource(const QuantizationConfig& config, const Checkpoint& checkpoint, Ops& ops)
      : checkpoint_(checkpoint),
        linears_(config, checkpoint, ops.ReadsFiles(), ops.load_threads()),
        ops_(ops) {}

  StatusOr<LinearWeight> Linear(const std::string& prefix, std::span<const LinearPart> parts,
                                bool bias) override;
  StatusOr<VectorWeight> Vector(const std::string& name) override;
  void ReleasePages() override { checkpoint_.ReleasePages(); }

 private:
  const Checkpoint& checkpoint_;
  LinearSource linears_;
  Ops& ops_;
};

// Another source, all of whose weights are noted for a file.
class NotingSource final : public WeightSource {
 public:
  NotingSource(WeightSource& source, PackedWriter& writer) : source_(source), writer_(writer) {}

  StatusOr<LinearWeight> Linear(const std::string& prefix, std::span<const LinearPart> parts,
                                bool bias) override;
  StatusOr<VectorWeight> Vector(const std::string& name) override;
  void ReleasePages() override { source_.ReleasePages(); }

 private:
  WeightSource& source_;
  PackedWriter& writer_;
};

// Packs the checkpoint's tensors into a file, and gives back weights without contents.
class AppendingSource final : public WeightSource {
 public:
  AppendingSource(WeightSource& source, PackedAppender& appender)
      : source_(source), appender_(appender) {}

  StatusOr<LinearWeight> Linear(const std::string& prefix, std::span<const LinearPart> parts,
                                bool bias) override;
  StatusOr<VectorWeight> Vector(const std::string& name) override;
  void ReleasePages() override { source_.ReleasePages(); }

 private:
  WeightSource& source_;
  PackedAppender& appender_;
};

// Takes them from a file, as far as the ops accept what is there. The weights refer
// to the file's memory.
class KeptSource final : public WeightSource {
 public:
  KeptSource(const PackedFile& file, const Ops& ops) : file_(file), ops_(ops) {}

  StatusOr<LinearWeight> Linear(const std::string& prefix, std::span<const LinearPart> parts,
                                bool bias) override;
  StatusOr<VectorWeight> Vector(const std::string& name) override;
  void ReleasePages() override {}

 private:
  const PackedFile& file_;
  const Ops& ops_;
};

// The name under which a joined layer is kept.
std::string JoinedName(const std::string& prefix, std::span<const LinearPart> parts);

}  // namespace inferd::model
