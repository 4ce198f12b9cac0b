#include "options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace inferd::device_bench {
namespace {

const Shape kShapes[] = {{"llama3-8b", 32, 4096, 32, 8, 128, 14336, 128256, 8192},
                         {"tiny", 2, 128, 4, 2, 32, 352, 512, 128}};
constexpr std::string_view kParts[] = {"copy",   "peak",    "product", "op",
                                       "decode", "prefill", "sample"};
constexpr std::string_view kFormats[] = {"bf16", "int8", "int4", "fp8"};

template <class List>
bool Has(const List& list, std::string_view value) {
  return std::find(std::begin(list), std::end(list), value) != std::end(list);
}

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

StatusOr<std::vector<int32_t>> Numbers(std::string_view text) {
  constexpr int32_t kMost = 65536;
  std::vector<int32_t> numbers;
  for (const std::string& part : Split(text)) {
    int32_t number = 0;
    const char* const end = part.data() + part.size();
    const auto [stopped, error] = std::from_chars(part.data(), end, number);
    if (error != std::errc() || stopped != end || number < 1 || number > kMost) {
      return InvalidArgumentError("not a list of numbers from 1 to 65536: " + std::string(text));
    }
    numbers.push_back(number);
  }
  return numbers;
}

Status Set(const std::string& flag, const std::string& value, Options* options) {
  if (flag == "--backend") {
    options->backend = value;
  } else if (flag == "--shape") {
    const auto* const shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                                           [&](const Shape& s) { return s.name == value; });
    if (shape == std::end(kShapes)) return InvalidArgumentError("unknown shape " + value);
    options->shape = *shape;
  } else if (flag == "--format") {
    if (!Has(kFormats, value)) return InvalidArgumentError("unknown format " + value);
    options->format = value;
  } else if (flag == "--tuning") {
    options->tuning = value;
  } else if (flag == "--parts") {
    options->parts = Split(value);
    for (const std::string& part : options->parts) {
      if (!Has(kParts, part)) return InvalidArgumentError("unknown part " + part);
    }
  } else if (flag == "--batches") {
    INFERD_ASSIGN_OR_RETURN(options->batches, Numbers(value));
  } else if (flag == "--contexts") {
    INFERD_ASSIGN_OR_RETURN(options->contexts, Numbers(value));
  } else if (flag == "--seconds") {
    char* end = nullptr;
    options->seconds = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(options->seconds >= 0 && options->seconds <= 60)) {
      return InvalidArgumentError("not 0 to 60 seconds: " + value);
    }
  } else if (flag == "--graphs") {
    if (value != "on" && value != "off") return InvalidArgumentError("--graphs is on or off");
    options->graphs = value == "on";
  } else {
    return InvalidArgumentError("unknown flag " + flag);
  }
  return OkStatus();
}

}  // namespace

bool Options::Wants(const std::string& part) const { return parts.empty() || Has(parts, part); }

StatusOr<Options> ParseOptions(int argc, const char* const* argv) {
  Options options;
  options.shape = kShapes[0];
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return InvalidArgumentError(std::string(argv[i]) + " without a value");
    INFERD_RETURN_IF_ERROR(Set(argv[i], argv[i + 1], &options));
  }
  const bool tiny = options.shape.name == "tiny";
  if (options.batches.empty()) {
    options.batches =
        tiny ? std::vector<int32_t>{1, 8} : std::vector<int32_t>{1, 8, 32, 64, 128, 256};
  }
  if (options.contexts.empty()) {
    options.contexts = tiny ? std::vector<int32_t>{64} : std::vector<int32_t>{512, 2048, 8192};
  }
  return options;
}

}  // namespace inferd::device_bench
