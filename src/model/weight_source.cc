#include "model/weight_source.h"

#include <vector>

namespace inferd::model {

std::string JoinedName(const std::string& prefix, std::initializer_list<std::string_view> names) {
  std::string joined = prefix;
  for (const std::string_view name : names) {
    if (joined.size() > prefix.size()) joined += '+';
    joined += name;
  }
  return joined;
}

StatusOr<LinearWeight> PackingSource::Linear(const std::string& prefix,
                                             std::initializer_list<std::string_view> names,
                                             bool bias) {
  std::vector<SourcedLinear> sourced;  // owns what the parts point to
  std::vector<RawLinear> parts;
  std::vector<TensorView> biases;
  for (const std::string_view name : names) {
    const std::string full = prefix + std::string(name);
    INFERD_ASSIGN_OR_RETURN(sourced.emplace_back(), linears_.Load(full));
    parts.push_back(sourced.back().raw);
    if (!ops_.Supports(parts.back().format)) {
      return UnimplementedError("the " + std::string(ops_.name()) + " backend does not take " +
                                std::string(WeightFormatName(parts.back().format)) + " weights");
    }
    if (!bias) continue;
    INFERD_ASSIGN_OR_RETURN(biases.emplace_back(), checkpoint_.View(full + ".bias"));
  }
  return ops_.Pack(parts, biases);
}

StatusOr<VectorWeight> PackingSource::Vector(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const TensorView data, checkpoint_.View(name));
  return ops_.PackVector(data);
}

StatusOr<LinearWeight> NotingSource::Linear(const std::string& prefix,
                                            std::initializer_list<std::string_view> names,
                                            bool bias) {
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, source_.Linear(prefix, names, bias));
  writer_.Add(JoinedName(prefix, names), weight);
  return weight;
}

StatusOr<VectorWeight> NotingSource::Vector(const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(VectorWeight weight, source_.Vector(name));
  writer_.Add(name, weight);
  return weight;
}

StatusOr<LinearWeight> KeptSource::Linear(const std::string& prefix,
                                          std::initializer_list<std::string_view> names,
                                          bool bias) {
  const std::string name = JoinedName(prefix, names);
  INFERD_ASSIGN_OR_RETURN(LinearWeight weight, file_.Linear(name));
  if (!ops_.Accepts(weight) || (weight.bias.size() > 0) != bias) {
    return FailedPreconditionError("has unsound sizes for " + name);
  }
  return weight;
}

StatusOr<VectorWeight> KeptSource::Vector(const std::string& name) { return file_.Vector(name); }

}  // namespace inferd::model
