// What is done to rows of activations one at a time: copies, sums, norms, SwiGLU,
// and rounding to 8 bits. Host functions that enqueue on `stream`; each returns 0
// or a cudaError_t. inferd/ops/ops.h words the formulas. A row's result depends on
// the row alone, bit for bit. All are bound by bytes: the floors are for 3.0 TB/s.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace inferd::cuda {

// A number's type at run time.
enum class Element : uint8_t { kF32, kBf16, kF16 };

// [rows, columns] in device memory.
struct Rows {
  void* data = nullptr;
  int64_t stride = 0;  // elements from row to row
  Element type = Element::kF32;
};

// Where rows go as well, or instead, rounded to 8 bits as Ops::Linear rounds x with
// kInt8: one scale a row.
struct RoundedRows {
  int8_t* values = nullptr;  // [rows, padded]; null: not wanted
  float* scales = nullptr;   // [rows]
  int64_t padded = 0;        // bytes from row to row; zeros behind the columns
};

// out[r] = table[ids[r] - first_row], converted; zeros for an id whose row another
// part of the table holds, and for -1, which is padding. -2 - s names the id at drawn[s]. An id
// outside the whole vocabulary gives zeros and sets *error to 1. Floor: 2 * columns * size / 3 TB/s
// a row.
struct EmbedParams {
  const int32_t* ids = nullptr;  // [num_rows]
  Rows table;                    // [table_rows, columns]
  int64_t table_rows = 0;
  int64_t first_row = 0;
  int64_t vocabulary = 0;  // rows of the whole table
  Rows out;                // f32 or bf16
  int64_t columns = 0;
  int32_t num_rows = 0;
  int32_t* error = nullptr;
  const int32_t* drawn = nullptr;  // [num_drawn]
  int32_t num_drawn = 0;
};
int Embed(const EmbedParams& params, Stream stream);

// out[i] = x[source[i]]
struct GatherParams {
  const int32_t* source = nullptr;  // [num_rows]
  Rows x;
  Rows out;
  int64_t columns = 0;
  int32_t num_rows = 0;
};
int GatherRows(const GatherParams& params, Stream stream);

// to[r][to_column + i] = from[r][from_column + i]
struct CopyColumnsParams {
  Rows from;
  Rows to;
  int64_t from_column = 0;
  int64_t to_column = 0;
  int64_t columns = 0;
  int32_t num_rows = 0;
};
int CopyColumns(const CopyColumnsParams& params, Stream stream);

// x += y
struct AddParams {
  Rows x;
  Rows y;
  int64_t columns = 0;
  int32_t num_rows = 0;
};
int AddRows(const AddParams& params, Stream stream);

// out = x / sqrt(mean(x^2) + eps) * weight, after x += y where y is given. out and
// rounded may both be wanted; out may be x when there is no y. Columns of out past
// `columns` up to `zero_to` become 0. One block a row; the row stays in registers
// up to 8192 columns. Floor: (read x, y; write x, out) / 3 TB/s; 22 us for 2048 rows
// of 4096 f32.
struct NormParams {
  Rows x;
  Rows y;                         // data null: plain norm
  const float* weight = nullptr;  // [columns]
  Rows out;                       // data null: not wanted
  int64_t zero_to = 0;
  RoundedRows rounded;
  float eps = 0;
  int64_t columns = 0;
  int32_t num_rows = 0;
};
int RmsNorm(const NormParams& params, Stream stream);

// The same over heads first_head .. first_head + num_heads - 1 of each row, in
// place, weight [head_dim]. A warp takes a head.
struct HeadNormParams {
  Rows x;
  const float* weight = nullptr;
  float eps = 0;
  int32_t first_head = 0;
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  int32_t num_rows = 0;
};
int HeadRmsNorm(const HeadNormParams& params, Stream stream);

// out = silu(gate) * up, gate_up = [gate | up]. Floor: 3 * columns * size / 3 TB/s a
// row; 59 us for 2048 rows of 14336 bf16.
struct SiluParams {
  Rows gate_up;  // [num_rows, 2 * columns]
  Rows out;      // data null: not wanted
  int64_t zero_to = 0;
  RoundedRows rounded;
  int64_t columns = 0;
  int32_t num_rows = 0;
};
int SiluMul(const SiluParams& params, Stream stream);

}  // namespace inferd::cuda
