#include "model/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

#include "model/json.h"
#include "nlohmann/json.hpp"

namespace inferd::model {
namespace {

using Json = nlohmann::json;

struct DTypeBits {
  std::string_view name;
  uint64_t bits;
};
constexpr std::array kDTypes = {
    DTypeBits{"F32", 32}, DTypeBits{"F16", 16},    DTypeBits{"BF16", 16},   DTypeBits{"F64", 64},
    DTypeBits{"I64", 64}, DTypeBits{"I32", 32},    DTypeBits{"I16", 16},    DTypeBits{"I8", 8},
    DTypeBits{"U64", 64}, DTypeBits{"U32", 32},    DTypeBits{"U16", 16},    DTypeBits{"U8", 8},
    DTypeBits{"BOOL", 8}, DTypeBits{"F8_E4M3", 8}, DTypeBits{"F8_E5M2", 8}, DTypeBits{"F8_E8M0", 8},
    DTypeBits{"C64", 64},
};

std::optional<uint64_t> BitsOf(std::string_view dtype) {
  for (const DTypeBits& d : kDTypes) {
    if (d.name == dtype) return d.bits;
  }
  return std::nullopt;
}

// Reads the header as it is parsed; builds nothing but the list of tensors.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  std::vector<StoredTensor>& tensors() { return tensors_; }
  const std::string& problem() const { return problem_; }

  bool null() override { return Unexpected(); }
  bool boolean(bool) override { return Unexpected(); }
  bool number_integer(number_integer_t) override { return Fail("negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Fail("number that is not whole");
  }
  bool binary(binary_t&) override { return Unexpected(); }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) return AddDim(value);
    if (place_ == Place::kOffsets) {
      if (offsets_.size() == 2) return Fail("data_offsets must be two numbers");
      offsets_.push_back(value);
      return true;
    }
    return Unexpected();
  }
  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kDType) return Unexpected();
    if (!BitsOf(value)) return Fail("dtype \"" + Printable(value) + "\" is not known");
    tensors_.back().dtype = value;
    place_ = Place::kTensor;
    return true;
  }
  bool start_object(size_t) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTopValue:
        place_ = in_metadata_ ? Place::kMetadata : Place::kTensor;
        fields_seen_ = 0;
        offsets_.clear();
        return true;
      default:
        return Unexpected();
    }
  }
  bool end_object() override {
    if (place_ == Place::kMetadata) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ == Place::kTensor) return FinishTensor();
    place_ = Place::kEnd;  // of the header
    return true;
  }
  bool start_array(size_t) override {
    if (place_ == Place::kShapeValue) {
      place_ = Place::kShape;
    } else if (place_ == Place::kOffsetsValue) {
      place_ = Place::kOffsets;
    } else {
      return Unexpected();
    }
    return true;
  }
  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }
  bool key(string_t& name) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ == Place::kTop) return StartTensor(name);
    if (name == "dtype") return Field(1, Place::kDType);
    if (name == "shape") return Field(2, Place::kShapeValue);
    if (name == "data_offsets") return Field(4, Place::kOffsetsValue);
    return Fail("unknown key \"" + Printable(name) + "\"");
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    if (problem_.empty()) {
      problem_ = "header is not valid JSON at byte " + std::to_string(position);
    }
    return false;
  }

 private:
  // Where in the header the parser is, named by what comes next.
  enum class Place : uint8_t {
    kStart,
    kTop,
    kTopValue,
    kMetadata,
    kTensor,
    kDType,
    kShapeValue,
    kShape,
    kOffsetsValue,
    kOffsets,
    kEnd,
  };

  bool Fail(std::string text) {
    if (!problem_.empty()) return false;
    const bool in_tensor = place_ > Place::kTop && !in_metadata_ && !tensors_.empty();
    problem_ = in_tensor ? "tensor \"" + Printable(tensors_.back().name) + "\": " + text : text;
    return false;
  }
  bool Unexpected() { return Fail("header has a value of an unexpected type"); }

  bool StartTensor(const std::string& name) {
    place_ = Place::kTopValue;
    in_metadata_ = name == "__metadata__";
    if (in_metadata_) {
      return metadata_count_++ == 0 || Fail("__metadata__ appears twice");
    }
    if (name.size() > kMaxTensorName) {
      return Fail("a tensor name is longer than " + std::to_string(kMaxTensorName) + " bytes");
    }
    if (tensors_.size() == kMaxTensors) {
      return Fail("more than " + std::to_string(kMaxTensors) + " tensors");
    }
    tensors_.emplace_back();
    tensors_.back().name = name;
    return names_.insert(name).second || Fail("appears twice");
  }
  bool Field(unsigned bit, Place next) {
    if ((fields_seen_ & bit) != 0) return Fail("a key appears twice");
    fields_seen_ |= bit;
    place_ = next;
    return true;
  }
  bool AddDim(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Fail("shape is too large");
    if (tensors_.back().shape.size() == kMaxTensorRank)
      return Fail("shape has too many dimensions");
    tensors_.back().shape.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool FinishTensor() {
    constexpr unsigned kAllFields = 7;
    if (fields_seen_ != kAllFields || offsets_.size() != 2) {
      return Fail("needs dtype, shape and two data_offsets");
    }
    StoredTensor& t = tensors_.back();
    t.begin = offsets_[0];
    t.end = offsets_[1];
    if (t.end < t.begin) return Fail("data_offsets end before they begin");
    uint64_t bits = *BitsOf(t.dtype);
    for (const int64_t dim : t.shape) {
      if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dim), &bits)) {
        return Fail("shape is too large");
      }
    }
    if (bits % 8 != 0 || bits / 8 != t.end - t.begin) {
      return Fail("data_offsets span " + std::to_string(t.end - t.begin) +
                  " bytes, shape and dtype need " + std::to_string(bits / 8));
    }
    place_ = Place::kTop;
    return true;
  }

  Place place_ = Place::kStart;
  bool in_metadata_ = false;
  int metadata_count_ = 0;
  unsigned fields_seen_ = 0;
  std::vector<uint64_t> offsets_;
  std::vector<StoredTensor> tensors_;
  std::unordered_set<std::string> names_;
  std::string problem_;
};

// Sorts by place, checks that the ranges tile [0, data_bytes), and makes them
// relative to the file. Returns what is wrong, or nothing.
std::string CheckCover(uint64_t header_end, uint64_t data_bytes,
                       std::vector<StoredTensor>* tensors) {
  std::sort(tensors->begin(), tensors->end(), [](const StoredTensor& a, const StoredTensor& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  for (StoredTensor& t : *tensors) {
    const std::string name = "tensor \"" + Printable(t.name) + "\": ";
    if (t.end > data_bytes) return name + "data_offsets reach beyond the end of the file";
    if (t.begin < covered) return name + "overlaps another tensor";
    if (t.begin > covered) return name + "leaves a hole before it";
    covered = t.end;
    t.begin += header_end;
    t.end += header_end;
  }
  if (covered != data_bytes) {
    return std::to_string(data_bytes - covered) + " bytes at the end belong to no tensor";
  }
  return {};
}

}  // namespace

StatusOr<std::vector<StoredTensor>> ReadSafetensorsHeader(std::span<const std::byte> file,
                                                          std::string_view file_name) {
  const auto refuse = [file_name](const std::string& text) {
    return FailedPreconditionError(std::string(file_name) + ": " + text);
  };
  constexpr uint64_t kPrefix = 8;
  if (file.size() < kPrefix) return refuse("too short for a safetensors file");
  uint64_t length = 0;
  for (size_t i = 0; i < kPrefix; ++i) length |= static_cast<uint64_t>(file[i]) << (8 * i);
  if (length < 2) return refuse("header is empty");
  if (length > kMaxHeaderBytes) return refuse("header is longer than 16 MiB");
  if (length > file.size() - kPrefix) return refuse("header reaches beyond the end of the file");

  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kPrefix,
                              static_cast<size_t>(length));
  if (text.front() != '{') return refuse("header does not start with '{'");
  // Padding is spaces only: no other format may hide behind the JSON.
  const size_t last = text.find_last_not_of(' ');
  if (text[last] != '}') return refuse("header does not end with '}' and spaces");
  try {
    HeaderReader reader;
    if (!Json::sax_parse(text.begin(), text.end(), &reader)) return refuse(reader.problem());
    std::vector<StoredTensor> tensors = std::move(reader.tensors());
    const std::string problem =
        CheckCover(kPrefix + length, file.size() - kPrefix - length, &tensors);
    if (!problem.empty()) return refuse(problem);
    return tensors;
  } catch (const std::exception&) {
    return refuse("header cannot be parsed");
  }
}

}  // namespace inferd::model
