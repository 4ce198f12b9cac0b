#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::device_bench {

struct Shape {
  std::string name;
  int32_t layers;
  int32_t hidden;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t ffn;
  int32_t vocab;
  int32_t peak;  // rows, inputs and outputs of the product that shows what the device does at best
  int64_t qkv() const { return int64_t{heads + 2 * kv_heads} * head_dim; }
};

struct Options {
  std::string backend = "auto";
  Shape shape;
  std::string format = "bf16";  // of the layers; the head stays bf16
  std::string tuning;           // a folder for what the backend measures; empty: it does not
  std::vector<std::string> parts;
  std::vector<int32_t> batches;
  std::vector<int32_t> contexts;
  double seconds = 1.0;  // of measuring a case
  bool graphs = true;
  bool Wants(const std::string& part) const;
};

// --backend NAME --shape llama3-8b|tiny --format bf16|int8|int4|fp8 --tuning FOLDER
// --parts copy,peak,product,op,decode,prefill,sample --batches 1,8 --contexts 512,2048
// --seconds S --graphs on|off; INVALID_ARGUMENT names what is wrong.
StatusOr<Options> ParseOptions(int argc, const char* const* argv);

}  // namespace inferd::device_bench
