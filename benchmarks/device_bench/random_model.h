#pragma once

#include <cstdint>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "inferd/ops/ops.h"
#include "options.h"

namespace inferd::device_bench {

// A value of a StatusOr, or the end of the program.
template <class T>
T Take(StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << "device_bench: " << value.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(*value);
}
void Require(const Status& status);

struct Layer {
  VectorWeight norm;
  LinearWeight qkv;
  LinearWeight output;
  LinearWeight gate_up;
  LinearWeight down;
};

// Weights drawn at random, packed by a backend: every layer has memory of its own, and numbers
// that another has too. Never zeros: tensor cores run faster on zeros.
class RandomModel {
 public:
  static constexpr int32_t kBlock = 16;  // tokens a block of the cache

  RandomModel(Ops& ops, const Options& options) : ops_(ops), options_(options) {}
  // Seconds that packing took, without the drawing of numbers.
  double Load(int32_t max_context);

  const std::vector<Layer>& layers() const { return layers_; }
  const LinearWeight& head() const { return head_; }
  const RopeTable& rope() const { return rope_; }
  const KvLayerSpec& kv_spec() const { return kv_spec_; }
  int64_t packed_bytes() const { return packed_bytes_; }

  LinearWeight Matrix(const std::string& format, int64_t out, int64_t in);
  Buffer Memory(int64_t bytes) const;
  void Randomize(const Buffer& to, int64_t floats);

 private:
  struct Raw {
    std::vector<uint8_t> bytes;
    std::vector<float> scales;
    std::vector<uint8_t> zeros;
    RawLinear raw;
  };
  const Raw& Drawn(const std::string& format, int64_t out, int64_t in);
  uint64_t Draw();
  float DrawFloat(float deviation);  // uniform

  Ops& ops_;
  const Options& options_;
  uint64_t state_ = 1;
  std::map<std::pair<int64_t, int64_t>, Raw> drawn_;  // of the layers, while they are packed
  double packing_seconds_ = 0;
  int64_t packed_bytes_ = 0;
  std::vector<Layer> layers_;
  LinearWeight head_;
  RopeTable rope_;
  KvLayerSpec kv_spec_;
};

}  // namespace inferd::device_bench
