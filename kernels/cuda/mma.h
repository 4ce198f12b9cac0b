// Tensor core instructions on fragments, D += A B with A [16, k] and B [k, 8].
// With g = lane / 4, t = lane % 4 a lane holds
//   16-bit, k = 16:  A: a[0] (g; 2t, 2t+1), a[1] (g+8; ..), a[2] (g; 2t+8, 2t+9), a[3] (g+8; ..)
//                    B: b[0] (2t, 2t+1; g), b[1] (2t+8, 2t+9; g)
//   8-bit, k = 32:   A: a[0] (g; 4t .. 4t+3), a[1] (g+8; ..), a[2] (g; 4t+16 ..), a[3] (g+8; ..)
//                    B: b[0] (4t .. 4t+3; g), b[1] (4t+16 ..; g)
//   D:               d[0], d[1] (g; 2t, 2t+1), d[2], d[3] (g+8; ..)
// lower columns (rows of B) in lower bits. LoadMatrices reads 8x8 matrices of 16-bit
// numbers from shared memory, 16 bytes a row: lanes 8i .. 8i+7 give the rows of
// matrix i, and out[i] holds (g; 2t, 2t+1) of it, or of its transpose.
// Layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16 / m16n8k32", "ldmatrix".
#pragma once

#include "cuda/async_copy.h"
#include "cuda/number.h"
#include "cuda/simt.h"

#ifndef __CUDACC__
#include "cuda/emulator/mma.h"
#endif

namespace inferd::cuda {

#ifdef __CUDACC__

SIMT_DEVICE void LoadMatrices4(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(SharedAddress(row))
               : "memory");
}
SIMT_DEVICE void LoadMatrices4Transposed(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(SharedAddress(row))
               : "memory");
}
// Lanes 16 and up give no addresses, but valid ones.
SIMT_DEVICE void LoadMatrices2(uint32_t (&out)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(out[0]), "=r"(out[1])
               : "r"(SharedAddress(row))
               : "memory");
}
SIMT_DEVICE void LoadMatrices2Transposed(uint32_t (&out)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(out[0]), "=r"(out[1])
               : "r"(SharedAddress(row))
               : "memory");
}

#define INFERD_MMA(instruction, type, d, a, b)                                    \
  asm volatile("mma.sync.aligned." instruction                                    \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+" type(d[0]), "+" type(d[1]), "+" type(d[2]), "+" type(d[3])   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

template <class T>
SIMT_DEVICE void Mma16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
SIMT_DEVICE void Mma16<Bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  INFERD_MMA("m16n8k16.row.col.f32.bf16.bf16.f32", "f", d, a, b);
}
template <>
SIMT_DEVICE void Mma16<Half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  INFERD_MMA("m16n8k16.row.col.f32.f16.f16.f32", "f", d, a, b);
}
SIMT_DEVICE void MmaInt8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  INFERD_MMA("m16n8k32.row.col.s32.s8.s8.s32", "r", d, a, b);
}
// Needs compute capability 8.9.
SIMT_DEVICE void MmaE4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  INFERD_MMA("m16n8k32.row.col.f32.e4m3.e4m3.f32", "f", d, a, b);
#else
  __trap();
#endif
}
#undef INFERD_MMA

#else

inline void LoadMatrices4(uint32_t (&out)[4], const void* row,
                          emulator::Place place = emulator::Here()) {
  emulator::LoadMatrices(out, 4, row, false, place);
}
inline void LoadMatrices4Transposed(uint32_t (&out)[4], const void* row,
                                    emulator::Place place = emulator::Here()) {
  emulator::LoadMatrices(out, 4, row, true, place);
}
inline void LoadMatrices2(uint32_t (&out)[2], const void* row,
                          emulator::Place place = emulator::Here()) {
  emulator::LoadMatrices(out, 2, row, false, place);
}
inline void LoadMatrices2Transposed(uint32_t (&out)[2], const void* row,
                                    emulator::Place place = emulator::Here()) {
  emulator::LoadMatrices(out, 2, row, true, place);
}
template <class T>
void Mma16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
           emulator::Place place = emulator::Here()) {
  emulator::Mma<uint16_t, float>(
      d, a, b, [](uint16_t bits) { return ToFloat(T{bits}); }, place);
}
inline void MmaInt8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                    emulator::Place place = emulator::Here()) {
  emulator::Mma<uint8_t, int32_t>(
      d, a, b, [](uint8_t bits) { return int32_t{static_cast<int8_t>(bits)}; }, place);
}
inline void MmaE4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                    emulator::Place place = emulator::Here()) {
  emulator::Mma<uint8_t, float>(
      d, a, b, [](uint8_t bits) { return ToFloat(E4m3{bits}); }, place);
}

#endif

}  // namespace inferd::cuda
