// The safetensors format: eight bytes of little-endian header length, a JSON
// header naming each tensor's dtype, shape and byte range, then the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::model {

inline constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
inline constexpr size_t kMaxTensors = 65536;
inline constexpr size_t kMaxTensorName = 256;
inline constexpr size_t kMaxTensorRank = 8;

struct StoredTensor {
  std::string name;
  std::string dtype;  // as the file spells it: "F32", "BF16", …
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes from the start of the file
  uint64_t end = 0;
};

// The tensors of a file in the order of their bytes, after checking all of it:
// header length within the file and kMaxHeaderBytes, names unique, dtypes known,
// range sizes equal to shape times dtype without overflow, and ranges that cover
// the data exactly, without overlap or hole. Takes memory in proportion to the
// header. FAILED_PRECONDITION starting with `file_name` otherwise.
StatusOr<std::vector<StoredTensor>> ReadSafetensorsHeader(std::span<const std::byte> file,
                                                          std::string_view file_name);

}  // namespace inferd::model
