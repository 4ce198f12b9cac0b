#include "model/weight_source.h"

#include <vector>

namespace inferd::model {

std::string JoinedName(const std::string& prefix, std::span<const LinearPart> parts) {
  std::string joined = prefix;
  for (const LinearPart& part : parts) {
    if (joined.size() > prefix.size()) joined += '+';
    joined += part.name;
  }
  return joined;
}

StatusOr<LinearWeight> PackingSource::Linear(const std::string& prefix,
                                             std::span<const LinearPart> parts, bool bias) {
  std::vector<SourcedLinear> sourced;  // owns what the parts point to
  std::vector<RawLinear> raw;
  std::vector<TensorView> biases;
  for (const LinearPart& part : parts) {
    const std::string full = prefix + std::string(part.name);
    INFERD_ASSIGN_OR_RETURN(sourced.emplace_back(), linears_.Load(full, part.block));
    raw.push_back(sourced.back().raw);
    if (!ops_.Supports(raw.back().format)) {
      return UnimplementedError("the " + std::string(ops_.name()) + " backend does not take " +
                                std::string(WeightFormatName(raw.back().format)) + " weights");
    }
    if (!bias || part.block.in_begin > 0) continue;
    INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint_.View(full + ".bias"));
    biases.push_back(whole.Rows(part.block.out_begin, part.block.out_count));
  }
  return ops_.Pack(raw, biases);
}

StatusOr<VectorWeight> PackingSource::Vector(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const TensorView data, checkpoint_.View(name));
  return ops_.PackVector(data);
}

StatusOr<LinearWeight> NotingSource::Linear(const std::string& prefix,
                                            std::span<const LinearPart> parts, bool bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, source_.Linear(prefix, parts, bias));
  writer_.Add(JoinedName(prefix, parts), weight);
  return weight;
}

StatusOr<VectorWeight> NotingSource::Vector(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(VectorWeight weight, source_.Vector(name));
  writer_.Add(name, weight);
  return weight;
}

StatusOr<LinearWeight> AppendingSource::Linear(const std::string& prefix,
                                               std::span<const LinearPart> parts, bool bias) {
  INFERD_ASSIGN_OR_RETURN(const LinearWeight weight, source_.Linear(prefix, parts, bias));
  INFERD_RETURN_IF_ERROR(
      appender_.Add(RecordOf(JoinedName(prefix, parts), weight), weight.packed, weight.bias));
  return LinearWeight();
}

StatusOr<VectorWeight> AppendingSource::Vector(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const VectorWeight weight, source_.Vector(name));
  INFERD_RETURN_IF_ERROR(appender_.Add(RecordOf(name, weight), weight.data, Buffer()));
  return VectorWeight();
}

StatusOr<LinearWeight> KeptSource::Linear(const std::string& prefix,
                                          std::span<const LinearPart> parts, bool bias) {
  const std::string name = JoinedName(prefix, parts);
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, file_.Linear(name));
  const bool has_bias = bias && parts.front().block.in_begin == 0;
  int64_t outputs = 0;
  for (const LinearPart& part : parts) outputs += part.block.out_count;
  if (!ops_.Accepts(weight) || (weight.bias.size() > 0) != has_bias ||
      weight.out_features != outputs || weight.in_features != parts.front().block.in_count) {
    return FailedPreconditionError("has unsound sizes for " + name);
  }
  return weight;
}

StatusOr<VectorWeight> KeptSource::Vector(const std::string& name) { return file_.Vector(name); }

}  // namespace inferd::model
