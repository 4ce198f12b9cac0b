#include "kernels/cpu/tile_machine.h"

#include <xmmintrin.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace inferd::testing {
namespace {

using Tile = TileMachine::Tile;
constexpr int kColumns = TileMachine::kRowBytes / 4;

// Zeros past the configured rows and bytes of a tile are never written: the loops below run over
// whole rows of their inputs, and only what is configured is kept of their results.
struct Row {
  uint32_t words[kColumns];
};
Row Words(const Tile& tile, int row) { return std::bit_cast<Row>(tile.data[row]); }

// MXCSR with denormals and tiny results as zeros, to nearest, without exceptions: the processor's
// own fused multiply-adds and additions do under it what TDPBF16PS does whatever MXCSR says.
class FlushToZero {
 public:
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(0x9fc0); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
};

// Apart from the function that sets MXCSR, which the compiler does not know to matter.
[[gnu::noinline, gnu::target("avx2,fma")]] void AddPairs(Tile& c, const Tile& a, const Tile& b) {
  for (int m = 0; m < c.rows; ++m) {
    const Row x = Words(a, m);
    float even[kColumns] = {};
    float odd[kColumns] = {};
    for (int k = 0; k < b.rows; ++k) {
      const Row w = Words(b, k);
      const auto low = std::bit_cast<float>(x.words[k] << 16);
      const auto high = std::bit_cast<float>(x.words[k] & 0xffff0000U);
      for (int n = 0; n < kColumns; ++n) {
        even[n] = std::fma(low, std::bit_cast<float>(w.words[n] << 16), even[n]);
        odd[n] = std::fma(high, std::bit_cast<float>(w.words[n] & 0xffff0000U), odd[n]);
      }
    }
    Row sum = Words(c, m);
    for (int n = 0; n < kColumns; ++n) {
      const float pair = even[n] + odd[n];
      sum.words[n] = std::bit_cast<uint32_t>(std::bit_cast<float>(sum.words[n]) + pair);
    }
    std::memcpy(c.data[m], &sum, c.row_bytes);
  }
}

// Byte `i` of a word, as the number it stands for.
template <bool kSigned>
uint32_t Byte(uint32_t word, int i) {
  const uint32_t top = word << (24 - 8 * i);
  return kSigned ? static_cast<uint32_t>(static_cast<int32_t>(top) >> 24) : top >> 24;
}

template <bool kASigned, bool kBSigned>
[[gnu::target("avx2")]] void AddQuads(Tile& c, const Tile& a, const Tile& b) {
  for (int m = 0; m < c.rows; ++m) {
    const Row x = Words(a, m);
    Row sum = Words(c, m);
    for (int k = 0; k < b.rows; ++k) {
      const Row w = Words(b, k);
      for (int i = 0; i < 4; ++i) {
        const uint32_t factor = Byte<kASigned>(x.words[k], i);
        for (int n = 0; n < kColumns; ++n) sum.words[n] += factor * Byte<kBSigned>(w.words[n], i);
      }
    }
    std::memcpy(c.data[m], &sum, c.row_bytes);
  }
}

uint16_t Word(const uint8_t* from) { return static_cast<uint16_t>(from[0] | from[1] << 8); }

}  // namespace

void TileMachine::Release() {
  configured = false;
  std::memset(config, 0, sizeof(config));
  std::memset(tiles, 0, sizeof(tiles));
}

const char* TileMachine::Configure(const uint8_t* operand) {
  const uint8_t palette = operand[0];
  if (palette > 1) return "#GP: there is no such palette";
  if (palette == 0) {
    Release();
    return nullptr;
  }
  if (operand[1] != 0) return "start_row is not 0";
  for (int i = 2; i < 16; ++i) {
    if (operand[i] != 0) return "#GP: a reserved byte is not 0";
  }
  for (int t = 0; t < 16; ++t) {
    const uint16_t row_bytes = Word(operand + 16 + 2 * t);
    const uint8_t rows = operand[48 + t];
    if (t >= kTiles) {
      if (row_bytes != 0 || rows != 0) return "#GP: the shape of a tile that does not exist";
      continue;
    }
    if (rows > kRows) return "#GP: more than 16 rows";
    if (row_bytes > kRowBytes) return "#GP: more than 64 bytes a row";
    if ((rows == 0) != (row_bytes == 0)) return "#GP: rows without bytes, or bytes without rows";
  }
  Release();
  std::memcpy(config, operand, sizeof(config));
  for (int t = 0; t < kTiles; ++t) {
    tiles[t].row_bytes = Word(operand + 16 + 2 * t);
    tiles[t].rows = operand[48 + t];
  }
  configured = true;
  return nullptr;
}

const char* TileMachine::Product(const TileInstruction& instruction) {
  Tile& c = tiles[instruction.tile[0]];
  const Tile& a = tiles[instruction.tile[1]];
  const Tile& b = tiles[instruction.tile[2]];
  if (&c == &a || &c == &b || &a == &b) return "#UD: two operands are the same tile";
  if (c.rows == 0 || a.rows == 0 || b.rows == 0) return "#UD: a tile without a shape";
  if (c.row_bytes % 4 != 0 || a.row_bytes % 4 != 0 || b.row_bytes % 4 != 0) {
    return "#UD: rows that are not of whole words";
  }
  if (c.rows != a.rows) return "#UD: the sums and the first factor differ in rows";
  if (c.row_bytes != b.row_bytes) return "#UD: the sums and the second factor differ in columns";
  if (a.row_bytes != 4 * b.rows) return "#UD: the factors differ in inputs";
  switch (instruction.opcode) {
    case TileOpcode::kTdpBF16PS: {
      const FlushToZero mode;
      AddPairs(c, a, b);
      break;
    }
    case TileOpcode::kTdpBSSD:
      AddQuads<true, true>(c, a, b);
      break;
    case TileOpcode::kTdpBSUD:
      AddQuads<true, false>(c, a, b);
      break;
    case TileOpcode::kTdpBUSD:
      AddQuads<false, true>(c, a, b);
      break;
    default:
      AddQuads<false, false>(c, a, b);
      break;
  }
  return nullptr;
}

const char* TileMachine::Execute(const TileInstruction& instruction, uint64_t address,
                                 int64_t stride) {
  auto* memory = reinterpret_cast<uint8_t*>(address);
  switch (instruction.opcode) {
    case TileOpcode::kLdTileCfg:
      return Configure(memory);
    case TileOpcode::kStTileCfg:
      std::memcpy(memory, config, sizeof(config));
      return nullptr;
    case TileOpcode::kTileRelease:
      Release();
      return nullptr;
    default:
      break;
  }
  if (!configured) return "#UD: no tiles are configured";
  Tile& tile = tiles[instruction.tile[0]];
  if (tile.rows == 0) return "#UD: a tile without a shape";
  switch (instruction.opcode) {
    case TileOpcode::kTileZero:
      std::memset(tile.data, 0, sizeof(tile.data));
      return nullptr;
    case TileOpcode::kTileLoadD:
    case TileOpcode::kTileLoadDT1:
      for (int m = 0; m < tile.rows; ++m) {
        std::memcpy(tile.data[m], memory + m * stride, tile.row_bytes);
      }
      return nullptr;
    case TileOpcode::kTileStoreD:
      for (int m = 0; m < tile.rows; ++m) {
        std::memcpy(memory + m * stride, tile.data[m], tile.row_bytes);
      }
      return nullptr;
    default:
      return Product(instruction);
  }
}

}  // namespace inferd::testing
