// What the instructions of AMX do, written from the processor's manual a second time: nothing
// here is taken from the emulated unit of the kernels, which is compared with it.
#pragma once

#include <cstdint>

#include "kernels/cpu/tile_instruction.h"

namespace inferd::testing {

struct TileMachine {
  static constexpr int kTiles = 8;
  static constexpr int kRows = 16;
  static constexpr int kRowBytes = 64;

  struct Tile {
    uint8_t rows;  // 0: not configured
    uint16_t row_bytes;
    alignas(64) uint8_t data[kRows][kRowBytes];
  };

  bool configured = false;  // else the state is INIT
  uint8_t config[64] = {};  // the operand of the last LDTILECFG
  Tile tiles[kTiles] = {};

  // Null, or why the processor would raise a fault; then nothing has changed. `address` is that
  // of the operand in memory, and of its first row, and rows are `stride` bytes apart; memory that
  // cannot be read or written faults as it does for any function. A first row other than 0
  // (start_row), which only an interrupted instruction leaves behind, is refused as well.
  // Async-signal-safe.
  const char* Execute(const TileInstruction& instruction, uint64_t address, int64_t stride);

 private:
  const char* Configure(const uint8_t* operand);
  void Release();
  const char* Product(const TileInstruction& instruction);
};

}  // namespace inferd::testing
