#include "model/linear_source.h"

#include <algorithm>
#include <utility>

#include "model/quantization_decode.h"
#include "model/quantization_tensors.h"

namespace inferd::model {
namespace {

constexpr uint8_t kLargestZero = 15;
// 4-bit values in a stored word.
constexpr int64_t kPacked = 8;

}  // namespace

WeightFormat FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return WeightFormat::kF16;
    case DType::kBF16:
      return WeightFormat::kBF16;
    default:
      return WeightFormat::kF32;
  }
}

std::string_view WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
    case WeightFormat::kFp8:
      return "fp8";
    case WeightFormat::kFp8Weights:
      return "fp8, weights only";
  }
  return "";
}

StatusOr<SourcedLinear> LinearSource::Load(const std::string& name, const LinearBlock& block) {
  switch (StoredAs(config_, checkpoint_, name)) {
    case QuantMethod::kAwq:
      return LoadInt4(name, block, /*awq=*/true);
    case QuantMethod::kGptq:
      return LoadInt4(name, block, /*awq=*/false);
    case QuantMethod::kInt8:
      return LoadInt8(name, block);
    case QuantMethod::kFp8:
      return LoadFp8(name, block);
    case QuantMethod::kNone:
      break;
  }
  return LoadFloat(name, block);
}

StatusOr<SourcedLinear> LinearSource::Load(const std::string& name) {
  const QuantMethod method = StoredAs(config_, checkpoint_, name);
  const bool awq = method == QuantMethod::kAwq;
  const bool packed = awq || method == QuantMethod::kGptq;
  const TensorFacts* facts = checkpoint_.Find(name + (packed ? ".qweight" : ".weight"));
  if (facts == nullptr || facts->shape.size() != 2) {
    return NotFoundError("layer \"" + name + "\" is missing");
  }
  const int64_t rows = facts->shape[0];
  const int64_t columns = facts->shape[1];
  LinearBlock all{0, rows, 0, columns};
  if (awq) all = {0, columns * kPacked, 0, rows};
  if (packed && !awq) all = {0, columns, 0, rows * kPacked};
  return Load(name, all);
}

StatusOr<TensorSlice> LinearSource::Slice(const TensorView& matrix, int64_t row, int64_t rows,
                                          int64_t column, int64_t columns, Use use) {
  return SliceMatrix(matrix, row, rows, column, columns, allocator_, files_, use == Use::kToLookAt,
                     threads_);
}

StatusOr<SourcedLinear> LinearSource::LoadFloat(const std::string& name, const LinearBlock& block) {
  SourcedLinear linear;
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint_.View(name + ".weight"));
  INFERD_ASSIGN_OR_RETURN(TensorSlice slice, Slice(whole, block.out_begin, block.out_count,
                                                   block.in_begin, block.in_count, Use::kForOps));
  linear.raw.data = slice.view;
  linear.data = std::move(slice.owned);
  linear.raw.format = FormatOf(whole.dtype);
  return linear;
}

StatusOr<SourcedLinear> LinearSource::LoadInt8(const std::string& name, const LinearBlock& block) {
  SourcedLinear linear;
  linear.raw.format = WeightFormat::kInt8;
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint_.IntegerView(name + ".weight"));
  INFERD_ASSIGN_OR_RETURN(TensorSlice slice, Slice(whole, block.out_begin, block.out_count,
                                                   block.in_begin, block.in_count, Use::kForOps));
  linear.raw.data = slice.view;
  linear.data = std::move(slice.owned);
  const std::string scale_name = name + ".weight_scale";
  INFERD_ASSIGN_OR_RETURN(const TensorView scales, checkpoint_.View(scale_name));
  INFERD_ASSIGN_OR_RETURN(
      const TensorSlice held,
      HoldTensor(scales.Rows(block.out_begin, block.out_count), allocator_, files_, threads_));
  // [out, 1] is in order already, as if one group of all outputs.
  TensorView stored = held.view;
  stored.shape = {1, block.out_count};
  INFERD_RETURN_IF_ERROR(TakeScales(scale_name, stored, &linear));
  linear.raw.scales = TensorView(linear.scales.data(), DType::kF32, {block.out_count});
  return linear;
}

// Scales become one per output and group of inputs, whatever shares them in the file.
StatusOr<SourcedLinear> LinearSource::LoadFp8(const std::string& name, const LinearBlock& block) {
  INFERD_ASSIGN_OR_RETURN(const TensorView whole, checkpoint_.IntegerView(name + ".weight"));
  const std::string scale_name = Fp8ScaleName(checkpoint_, name);
  INFERD_ASSIGN_OR_RETURN(const TensorView scales, checkpoint_.View(scale_name));
  INFERD_ASSIGN_OR_RETURN(const TensorSlice held, HoldTensor(scales, allocator_, files_, threads_));
  const TensorView& stored = held.view;
  SourcedLinear linear;
  linear.raw.format = config_.rounds_inputs ? WeightFormat::kFp8 : WeightFormat::kFp8Weights;
  INFERD_ASSIGN_OR_RETURN(TensorSlice slice, Slice(whole, block.out_begin, block.out_count,
                                                   block.in_begin, block.in_count, Use::kToLookAt));
  INFERD_RETURN_IF_ERROR(ForOutputs(block.out_count, [&](int64_t begin, int64_t end) {
    if (!HoldsE4M3Nan(slice.view.Rows(begin, end - begin))) return OkStatus();
    return FailedPreconditionError("tensor \"" + name + ".weight\": holds a NaN");
  }));
  linear.raw.data = slice.view;
  linear.data = std::move(slice.owned);

  const bool blocks = config_.block_inputs > 0;
  const int64_t group = blocks ? GroupOfBlock(block, config_.block_inputs) : block.in_count;
  INFERD_CHECK(group > 0);
  const int64_t groups = block.in_count / group;
  linear.raw.group_size = static_cast<int32_t>(group);
  const SharedScales shared{blocks ? config_.block_outputs : whole.dim(0) / stored.NumElements(),
                            blocks ? stored.dim(1) : 1, block.out_begin,
                            blocks ? block.in_begin / config_.block_inputs : 0};
  INFERD_ASSIGN_OR_RETURN(
      linear.scales,
      Buffer::Create(allocator_, static_cast<size_t>(block.out_count * groups) * sizeof(float)));
  linear.raw.scales = TensorView(linear.scales.data(), DType::kF32, {block.out_count, groups});
  if (!SpreadScales(stored, shared, linear.raw.scales)) {
    return FailedPreconditionError("tensor \"" + scale_name +
                                   "\": holds a scale that is not finite");
  }
  return linear;
}

StatusOr<SourcedLinear> LinearSource::LoadInt4(const std::string& name, const LinearBlock& block,
                                               bool awq) {
  INFERD_ASSIGN_OR_RETURN(const TensorView qweight, checkpoint_.IntegerView(name + ".qweight"));
  INFERD_ASSIGN_OR_RETURN(const TensorView qzeros, checkpoint_.IntegerView(name + ".qzeros"));
  INFERD_ASSIGN_OR_RETURN(const TensorView scales, checkpoint_.View(name + ".scales"));
  const int64_t whole_in = awq ? qweight.dim(0) : qweight.dim(0) * kPacked;
  const int64_t whole_group = whole_in / qzeros.dim(0);
  const int64_t group = GroupOfBlock(block, whole_group);
  INFERD_CHECK(group > 0 && block.out_begin % kPacked == 0);
  const int64_t out = block.out_count;
  const int64_t in = block.in_count;
  const int64_t groups = in / group;
  const int64_t first_group = block.in_begin / whole_group;

  SourcedLinear linear;
  linear.raw.format = WeightFormat::kInt4;
  linear.raw.group_size = static_cast<int32_t>(group);
  INFERD_ASSIGN_OR_RETURN(linear.data,
                          Buffer::Create(allocator_, static_cast<size_t>(out * in / 2)));
  linear.raw.data = TensorView(linear.data.data(), DType::kU8, {out, in / 2});
  INFERD_RETURN_IF_ERROR(UnpackCodes(qweight, block, awq, linear.raw.data));
  INFERD_ASSIGN_OR_RETURN(const TensorSlice stored,
                          Slice(scales, first_group, groups, block.out_begin, out, Use::kToLookAt));
  INFERD_RETURN_IF_ERROR(TakeScales(name + ".scales", stored.view, &linear));
  linear.raw.scales = TensorView(linear.scales.data(), DType::kF32, {out, groups});

  INFERD_ASSIGN_OR_RETURN(linear.zeros,
                          Buffer::Create(allocator_, static_cast<size_t>(out * groups)));
  linear.raw.zeros = TensorView(linear.zeros.data(), DType::kU8, {out, groups});
  INFERD_ASSIGN_OR_RETURN(
      const TensorSlice points,
      Slice(qzeros, first_group, groups, block.out_begin / kPacked, out / kPacked, Use::kToLookAt));
  INFERD_RETURN_IF_ERROR(UnpackZeroPoints(name, points.view, awq, linear.raw.zeros));
  return linear;
}

// Read a tile at a time, which is decoded while it is in the processor's cache.
Status LinearSource::UnpackCodes(const TensorView& qweight, const LinearBlock& block, bool awq,
                                 const TensorView& codes) {
  constexpr int64_t kTileInputs = 128;
  constexpr int64_t kTileOutputs = 8192;
  const int64_t row_inputs = awq ? 1 : kPacked;  // of a row of words
  const int64_t column_outputs = awq ? kPacked : 1;
  const int64_t across = (block.out_count + kTileOutputs - 1) / kTileOutputs;
  const int64_t down = (block.in_count + kTileInputs - 1) / kTileInputs;
  const int64_t row_bytes = block.in_count / 2;
  return threads_.Run(across * down, [&](int64_t tile) -> Status {
    const int64_t input = tile / across * kTileInputs;
    const int64_t output = tile % across * kTileOutputs;
    const int64_t inputs = std::min(kTileInputs, block.in_count - input);
    const int64_t outputs = std::min(kTileOutputs, block.out_count - output);
    HostAllocator allocator;
    NoLoadThreads caller;
    INFERD_ASSIGN_OR_RETURN(
        const TensorSlice words,
        SliceMatrix(qweight, (block.in_begin + input) / row_inputs, inputs / row_inputs,
                    (block.out_begin + output) / column_outputs, outputs / column_outputs,
                    allocator, files_, /*held=*/true, caller));
    uint8_t* to = codes.As<uint8_t>() + output * row_bytes + input / 2;
    if (awq) {
      UnpackAwqCodes(words.view, to, row_bytes);
    } else {
      UnpackGptqCodes(words.view, to, row_bytes);
    }
    return OkStatus();
  });
}

Status LinearSource::UnpackZeroPoints(const std::string& name, const TensorView& points, bool awq,
                                      const TensorView& zeros) {
  const NibbleOrder order = awq ? NibbleOrder::kAwq : NibbleOrder::kPlain;
  const int64_t groups = zeros.dim(1);
  return ForOutputs(zeros.dim(0), [&](int64_t begin, int64_t end) {
    UnpackZeros(points, order, begin / kPacked, end / kPacked, zeros.As<uint8_t>());
    if (awq || !config_.zeros_minus_one) return OkStatus();
    // Readers of this format disagree on what 15 stored means: 16, or 0.
    uint8_t largest = 0;
    auto* const codes = zeros.As<uint8_t>();
    for (int64_t i = begin * groups; i < end * groups; ++i) largest = std::max(largest, codes[i]++);
    if (largest < kLargestZero) return OkStatus();
    return FailedPreconditionError("tensor \"" + name +
                                   ".qzeros\": holds a zero point of 16, past the 4 bits");
  });
}

Status LinearSource::ForOutputs(int64_t outputs,
                                const std::function<Status(int64_t, int64_t)>& body) {
  constexpr int64_t kAtOnce = 256;  // a multiple of what a word holds
  return threads_.Run((outputs + kAtOnce - 1) / kAtOnce, [&](int64_t part) {
    return body(part * kAtOnce, std::min(outputs, (part + 1) * kAtOnce));
  });
}

// Scales [groups, out], each output's beside one another.
Status LinearSource::TakeScales(const std::string& name, const TensorView& stored,
                                SourcedLinear* linear) {
  const auto bytes = static_cast<size_t>(stored.NumElements()) * sizeof(float);
  INFERD_ASSIGN_OR_RETURN(linear->scales, Buffer::Create(allocator_, bytes));
  auto* const to = reinterpret_cast<float*>(linear->scales.data());
  return ForOutputs(stored.dim(1), [&](int64_t begin, int64_t end) {
    if (TransposeScales(stored, begin, end, to)) return OkStatus();
    return FailedPreconditionError("tensor \"" + name + "\": holds a scale that is not finite");
  });
}

}  // namespace inferd::model
