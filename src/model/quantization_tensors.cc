#include "model/quantization_tensors.h"

namespace inferd::model {
namespace {

// Values in an I32.
constexpr int64_t kPacked = 8;

bool Has(const Checkpoint& checkpoint, std::string_view name, std::string_view end) {
  return checkpoint.Find(std::string(name) + std::string(end)) != nullptr;
}

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status AddFp8Linear(const QuantizationConfig& config, const Checkpoint& checkpoint,
                    const std::string& name, int64_t out, int64_t in,
                    std::vector<ExpectedTensor>* all) {
  all->push_back({name + ".weight", {out, in}, TensorRole::kCodes, "F8_E4M3"});
  const std::string scale_name = Fp8ScaleName(checkpoint, name);
  const TensorFacts* scale = checkpoint.Find(scale_name);
  std::vector<int64_t> shape{out, 1};
  if (config.block_inputs > 0) {
    shape = {DivideUp(out, config.block_outputs), DivideUp(in, config.block_inputs)};
    if (in % config.block_inputs != 0) {
      return UnimplementedError("layer \"" + name + "\": blocks of " +
                                std::to_string(config.block_inputs) + " inputs do not divide its " +
                                std::to_string(in));
    }
  } else if (scale != nullptr) {
    // One for all, or one an output without a second dimension.
    const std::vector<int64_t>& stored = scale->shape;
    int64_t size = 1;
    for (const int64_t dim : stored) size *= dim;
    if (stored.size() <= 2 && (size == 1 || stored == std::vector<int64_t>{out})) shape = stored;
  }
  all->push_back({scale_name, shape, TensorRole::kSharedScales});
  if (!config.static_inputs) return OkStatus();
  // Of the inputs: rounded by their own largest, they do not need them.
  for (const std::string_view end : {".input_scale", ".activation_scale"}) {
    const TensorFacts* facts = checkpoint.Find(name + std::string(end));
    if (facts == nullptr) continue;
    all->push_back({name + std::string(end), facts->shape, TensorRole::kUnused});
  }
  return OkStatus();
}

}  // namespace

QuantMethod StoredAs(const QuantizationConfig& config, const Checkpoint& checkpoint,
                     std::string_view name) {
  if (config.method == QuantMethod::kNone) return QuantMethod::kNone;
  // Among layers of 4 bits one, most likely the head, may have 8.
  const TensorFacts* weight = checkpoint.Find(std::string(name) + ".weight");
  if (weight != nullptr && weight->dtype == "I8") return QuantMethod::kInt8;
  if (config.method == QuantMethod::kInt8) return QuantMethod::kNone;
  if (config.method == QuantMethod::kFp8) {
    return weight != nullptr && weight->dtype == "F8_E4M3" ? QuantMethod::kFp8 : QuantMethod::kNone;
  }
  const bool any = Has(checkpoint, name, ".qweight") || Has(checkpoint, name, ".qzeros") ||
                   Has(checkpoint, name, ".scales");
  // A layer that is not there at all is missed in the form most layers have.
  const bool missing = !Has(checkpoint, name, ".weight") && name != "lm_head";
  return any || missing ? config.method : QuantMethod::kNone;
}

std::string Fp8ScaleName(const Checkpoint& checkpoint, std::string_view name) {
  const bool inverse = Has(checkpoint, name, ".weight_scale_inv");
  return std::string(name) + (inverse ? ".weight_scale_inv" : ".weight_scale");
}

int64_t GroupSize(const QuantizationConfig& config, int64_t in) {
  return config.group_size == -1 ? in : config.group_size;
}

Status AddLinear(const QuantizationConfig& config, const Checkpoint& checkpoint,
                 const std::string& name, int64_t out, int64_t in,
                 std::vector<ExpectedTensor>* all) {
  const QuantMethod method = StoredAs(config, checkpoint, name);
  if (method == QuantMethod::kNone) {
    all->push_back({name + ".weight", {out, in}, TensorRole::kMatrix});
    return OkStatus();
  }
  if (method == QuantMethod::kInt8) {
    all->push_back({name + ".weight", {out, in}, TensorRole::kCodes, "I8"});
    all->push_back({name + ".weight_scale", {out, 1}, TensorRole::kScales});
    return OkStatus();
  }
  if (method == QuantMethod::kFp8) return AddFp8Linear(config, checkpoint, name, out, in, all);
  const auto refuse = [&name](const std::string& why) {
    return FailedPreconditionError("layer \"" + name + "\": " + why);
  };
  if (Has(checkpoint, name, ".weight")) return refuse("stored both quantised and in float");
  const int64_t group = GroupSize(config, in);
  if (in % group != 0 || group % 32 != 0) {
    return refuse("groups of " + std::to_string(group) + " do not divide its " +
                  std::to_string(in) + " inputs into multiples of 32");
  }
  if (out % kPacked != 0) {
    return refuse("its " + std::to_string(out) + " outputs are not a multiple of 8");
  }
  const bool awq = method == QuantMethod::kAwq;
  const std::vector<int64_t> packed =
      awq ? std::vector<int64_t>{in, out / kPacked} : std::vector<int64_t>{in / kPacked, out};
  all->push_back({name + ".qweight", packed, TensorRole::kCodes, "I32"});
  all->push_back({name + ".qzeros", {in / group, out / kPacked}, TensorRole::kZeros, "I32"});
  all->push_back({name + ".scales", {in / group, out}, TensorRole::kScales});
  if (!awq && (config.act_order || Has(checkpoint, name, ".g_idx"))) {
    all->push_back({name + ".g_idx", {in}, TensorRole::kGroupIndex, "I32"});
  }
  return OkStatus();
}

Status CheckGroupIndex(const QuantizationConfig& config, const Checkpoint& checkpoint,
                       const std::string& name) {
  INFERD_ASSIGN_OR_RETURN(const TensorView index, checkpoint.IntegerView(name));
  const int64_t in = index.dim(0);
  const int64_t group = GroupSize(config, in);
  const auto* groups = index.As<const int32_t>();
  const std::string where = "tensor \"" + name + "\": ";
  for (int64_t i = 0; i < in; ++i) {
    if (groups[i] < 0 || groups[i] >= in / group) {
      return FailedPreconditionError(where + "group " + std::to_string(groups[i]) + " of input " +
                                     std::to_string(i) + " is not in [0, " +
                                     std::to_string(in / group) + ")");
    }
  }
  for (int64_t i = 0; i < in; ++i) {
    if (groups[i] == i / group) continue;
    return UnimplementedError(where + "groups ordered by activation (act-order) are not supported");
  }
  return OkStatus();
}

}  // namespace inferd::model
