// Tile registers, of the processor or emulated, behind one set of functions, so that
// what is written over them (linear_tiles.cc) can be tested without the hardware.
//
// A unit has eight tiles of up to 16 rows of up to 64 bytes, numbered by template
// arguments because the instructions have the numbers in them. Per unit object one
// thread; AmxTiles are the thread's own registers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inferd::kernels {

// The operand of LDTILECFG.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // of eight tiles; the rest stays 0
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Step by step what the manual says, faults included (they trap): Configure as
// LDTILECFG, which also zeroes the tiles; Load and Store as TILELOADD and TILESTORED;
// DotBF16 as TDPBF16PS, DotS8U8 as TDPBSUD, DotS8S8 as TDPBSSD.
class EmulatedTiles {
 public:
  void Configure(const TileConfig& config);
  template <int kTile>
  void Zero() {
    ZeroTile(Used(kTile));
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    LoadTile(Used(kTile), from, stride);
  }
  template <int kTile>
  void Store(void* to, int64_t stride) {
    StoreTile(Used(kTile), to, stride);
  }
  // c[m][n] += sum of a[m][2k] b[k][2n] over k + sum of a[m][2k+1] b[k][2n+1]
  template <int kC, int kA, int kB>
  void DotBF16() {
    DotTiles(Used(kC), Used(kA), Used(kB));
  }
  // c[m][n] += sum of a[m][4k + i] b[k][4n + i] over k and i < 4, a signed and b
  // unsigned, modulo 2^32
  template <int kC, int kA, int kB>
  void DotS8U8() {
    DotBytes(Used(kC), Used(kA), Used(kB), /*b_is_signed=*/false);
  }
  // The same with b signed.
  template <int kC, int kA, int kB>
  void DotS8S8() {
    DotBytes(Used(kC), Used(kA), Used(kB), /*b_is_signed=*/true);
  }
  void Release() { Configure(TileConfig{.palette = 0}); }

 private:
  struct Tile {
    int rows = 0;
    int row_bytes = 0;
    alignas(64) std::byte data[16][64] = {};
  };
  Tile& Used(int tile);
  static void ZeroTile(Tile& tile);
  static void LoadTile(Tile& tile, const void* from, int64_t stride);
  static void StoreTile(const Tile& tile, void* to, int64_t stride);
  static void DotTiles(Tile& c, const Tile& a, const Tile& b);
  static void DotBytes(Tile& c, const Tile& a, const Tile& b, bool b_is_signed);

  Tile tiles_[8];
};

#if defined(__x86_64__)
// Instructions in assembly: no compiler flag is needed, and Configure reads all 64
// bytes of its operand, of which GCC 12's _tile_loadconfig declares only 8.
class AmxTiles {
 public:
  void Configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  template <int kTile>
  void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void Store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kC, int kA, int kB>
  void DotBF16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  void DotS8U8() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  void DotS8S8() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  void Release() { asm volatile("tilerelease"); }
};
#endif

// Whether the processor and the operating system, which is asked for the registers on
// behalf of the whole process, have AMX with products of bf16, or of 8-bit integers.
bool AmxBf16Runs();
bool AmxInt8Runs();

}  // namespace inferd::kernels
