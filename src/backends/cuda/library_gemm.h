#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "backends/cuda/device.h"
#include "inferd/base/status.h"

namespace inferd {

// Products of many rows by cuBLASLt: out [rows, outputs] (+)= x [rows, inputs] W^T.
// Each shape's algorithm is looked up once, with the workspace given to it, and kept:
// rows are rounded up to a power of two for that, so that few are looked up. The
// rank's thread.
//
// The library's order of summation may depend on the number of rows: these products
// are not part of the promise that a row's result stands alone.
class LibraryGemm {
 public:
  enum class Kind : uint8_t {
    kBf16,  // bf16 in, f32 out
    kInt8,  // int8 in, int32 out
    kFp8,   // e4m3 in, f32 out; from compute capability 8.9 on
  };
  struct Product {
    Kind kind = Kind::kBf16;
    const void* x = nullptr;        // rows of `row_bytes`
    const void* weights = nullptr;  // the same
    void* out = nullptr;            // [rows, outputs] of 4 bytes
    int32_t rows = 0;
    int32_t outputs = 0;
    int32_t row_bytes = 0;    // padded with zeros; a multiple of 64
    bool accumulate = false;  // out += (kBf16)
  };

  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // The workspace comes from the device's memory.
  static StatusOr<std::unique_ptr<LibraryGemm>> Create(Device& device);
  ~LibraryGemm();

  // Enqueues; an error sticks to the device.
  void Multiply(const Product& product);

  // Looks the algorithm up, so that Multiply of such a shape does nothing new.
  Status Prepare(const Product& product);

  std::string Version() const;
  size_t num_algorithms() const { return plans_.size(); }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace_bytes = 0;
  };
  using Key = std::tuple<Kind, int32_t, int32_t, int32_t, bool>;  // rows rounded up

  explicit LibraryGemm(Device& device) : device_(device) {}
  StatusOr<Plan> Look(const Product& product, int32_t rows);

  Device& device_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace inferd
