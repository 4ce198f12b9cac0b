// Tiles against products by hand, the trap on every kind of operand, and what a processor refuses,
// which is refused.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "cpu/tile_unit.h"
#include "kernels/cpu/tile_instruction.h"
#include "kernels/cpu/tile_machine.h"
#include "kernels/cpu/tile_trap.h"

namespace inferd::testing {
namespace {

using kernels::TileConfig;

// Tile 0 += tile 1 times tile 2.
TileConfig Shape(uint8_t rows, uint8_t quads, uint8_t columns) {
  TileConfig config;
  config.rows[0] = config.rows[1] = rows;
  config.rows[2] = quads;
  config.row_bytes[0] = config.row_bytes[2] = static_cast<uint16_t>(4 * columns);
  config.row_bytes[1] = static_cast<uint16_t>(4 * quads);
  return config;
}

const char* Load(TileMachine& machine, const TileConfig& config) {
  return machine.Execute({.opcode = TileOpcode::kLdTileCfg}, reinterpret_cast<uint64_t>(&config),
                         0);
}

const char* Refusal(const TileConfig& config) {
  TileMachine machine;
  const char* wrong = Load(machine, config);
  EXPECT_FALSE(wrong != nullptr && machine.configured);
  return wrong == nullptr ? "none" : wrong;
}

TEST(TileMachineTest, ConfigurationsThatFaultAreRefused) {
  const auto with = [](auto change) {
    TileConfig config = Shape(16, 16, 16);
    change(config);
    return Refusal(config);
  };
  EXPECT_STREQ(with([](TileConfig&) {}), "none");
  EXPECT_STREQ(with([](auto& c) { c.palette = 2; }), "#GP: there is no such palette");
  EXPECT_STREQ(with([](auto& c) { c.start_row = 1; }), "start_row is not 0");
  EXPECT_STREQ(with([](auto& c) { c.reserved[13] = 1; }), "#GP: a reserved byte is not 0");
  EXPECT_STREQ(with([](auto& c) { c.rows[7] = 17; }), "#GP: more than 16 rows");
  EXPECT_STREQ(with([](auto& c) { c.row_bytes[0] = 65; }), "#GP: more than 64 bytes a row");
  EXPECT_STREQ(with([](auto& c) { c.row_bytes[0] = 256; }), "#GP: more than 64 bytes a row");
  EXPECT_STREQ(with([](auto& c) { c.rows[3] = 1; }),
               "#GP: rows without bytes, or bytes without rows");
  EXPECT_STREQ(with([](auto& c) { c.row_bytes[3] = 1; }),
               "#GP: rows without bytes, or bytes without rows");
  EXPECT_STREQ(with([](auto& c) { c.rows[8] = 1; }),
               "#GP: the shape of a tile that does not exist");
  EXPECT_STREQ(with([](auto& c) { c.row_bytes[15] = 1; }),
               "#GP: the shape of a tile that does not exist");
}

TEST(TileMachineTest, TilesAndShapesThatFaultAreRefused) {
  const auto product = [](const TileConfig& config, std::array<uint8_t, 3> t = {0, 1, 2}) {
    TileMachine machine;
    EXPECT_EQ(Load(machine, config), nullptr);
    const char* wrong =
        machine.Execute({.opcode = TileOpcode::kTdpBSUD, .tile = {t[0], t[1], t[2]}}, 0, 0);
    return wrong == nullptr ? "none" : wrong;
  };
  EXPECT_STREQ(product(Shape(3, 4, 5)), "none");
  EXPECT_STREQ(product(Shape(3, 4, 5), {0, 1, 3}), "#UD: a tile without a shape");
  EXPECT_STREQ(product(Shape(3, 4, 5), {0, 1, 1}), "#UD: two operands are the same tile");
  TileConfig config = Shape(3, 4, 5);
  config.rows[1] = 4;
  EXPECT_STREQ(product(config), "#UD: the sums and the first factor differ in rows");
  config = Shape(3, 4, 5);
  config.row_bytes[0] = 16;
  EXPECT_STREQ(product(config), "#UD: the sums and the second factor differ in columns");
  config = Shape(3, 4, 5);
  config.rows[2] = 5;
  EXPECT_STREQ(product(config), "#UD: the factors differ in inputs");
  config = Shape(3, 4, 5);
  config.row_bytes[1] = 15;
  EXPECT_STREQ(product(config), "#UD: rows that are not of whole words");

  TileMachine machine;
  EXPECT_STREQ(machine.Execute({.opcode = TileOpcode::kTileZero}, 0, 0),
               "#UD: no tiles are configured");
  ASSERT_EQ(Load(machine, Shape(3, 4, 5)), nullptr);
  EXPECT_STREQ(machine.Execute({.opcode = TileOpcode::kTileLoadD, .tile = {5}}, 0, 0),
               "#UD: a tile without a shape");
  EXPECT_EQ(machine.Execute({.opcode = TileOpcode::kTileZero, .tile = {2}}, 0, 0), nullptr);
  // The palette without tiles is what TILERELEASE leaves.
  ASSERT_EQ(Load(machine, {.palette = 0}), nullptr);
  EXPECT_FALSE(machine.configured);
  EXPECT_STREQ(machine.Execute({.opcode = TileOpcode::kTileZero, .tile = {2}}, 0, 0),
               "#UD: no tiles are configured");
}

// One sum of one quad, through the trap.
#define QUAD_PRODUCT(instruction)                                                    \
  [](uint32_t a, uint32_t b, uint32_t c) {                                           \
    alignas(64) const TileConfig config = Shape(1, 1, 1);                            \
    asm volatile(                                                                    \
        "ldtilecfg %3\n tileloadd (%0,%4,1), %%tmm0\n tileloadd (%1,%4,1), %%tmm1\n" \
        "tileloadd (%2,%4,1), %%tmm2\n" instruction                                  \
        " %%tmm2, %%tmm1, %%tmm0\n"                                                  \
        "tilestored %%tmm0, (%0,%4,1)\n tilerelease"                                 \
        :                                                                            \
        : "r"(&c), "r"(&a), "r"(&b), "m"(config), "r"(int64_t{64})                   \
        : "memory");                                                                 \
    return c;                                                                        \
  }

TEST(TileTrapTest, EveryKindOfProductIsThatOfItsSigns) {
  // Bytes 0xff 0x02 0x80 0x00 by 0xfe 0x03 0xff 0x7f.
  constexpr uint32_t kA = 0x008002ffU;
  constexpr uint32_t kB = 0x7fff03feU;
  const auto u32 = [](int value) { return static_cast<uint32_t>(value); };
  EXPECT_EQ(QUAD_PRODUCT("tdpbssd")(kA, kB, 5), u32(5 + -1 * -2 + 2 * 3 + -128 * -1));
  EXPECT_EQ(QUAD_PRODUCT("tdpbsud")(kA, kB, 5), u32(5 + -1 * 254 + 2 * 3 + -128 * 255));
  EXPECT_EQ(QUAD_PRODUCT("tdpbusd")(kA, kB, 5), u32(5 + 255 * -2 + 2 * 3 + 128 * -1));
  EXPECT_EQ(QUAD_PRODUCT("tdpbuud")(kA, kB, 5), u32(5 + 255 * 254 + 2 * 3 + 128 * 255));
  EXPECT_EQ(QUAD_PRODUCT("tdpbuud")(kA, kB, 0xffffffffU), u32(-1 + 255 * 254 + 6 + 128 * 255));
}

TEST(TileTrapTest, PairsOfBF16AreSummedInF32AndDenormalsAreZero) {
  const auto product = QUAD_PRODUCT("tdpbf16ps");
  const auto f32 = [](float value) { return std::bit_cast<uint32_t>(value); };
  const auto pair = [](float even, float odd) {
    return std::bit_cast<uint32_t>(even) >> 16 | (std::bit_cast<uint32_t>(odd) & 0xffff0000U);
  };
  EXPECT_EQ(product(pair(2, -3), pair(5, 7), f32(0.5F)), f32(0.5F + 10 - 21));
  EXPECT_EQ(product(0x00000001U, pair(1, 0), f32(1)), f32(1));
  EXPECT_EQ(product(0x3f800000U, 0x00010000U, f32(0x1p-126F)), f32(0x1p-126F));
  EXPECT_EQ(product(pair(0x1p-63F, 0), pair(0x1p-64F, 0), f32(0)), f32(0));
  EXPECT_EQ(product(pair(0x1p-63F, 0), pair(0x1p-63F, 0), f32(0)), f32(0x1p-126F));
  EXPECT_EQ(product(0, 0, 1), 0U);
}

// base, index and displacement through the trap: rows of 8 bytes, moved to and fro.
#define MOVES(load, base, index, scale, displacement)                                              \
  [](const uint8_t* source, uint8_t* target, int64_t apart) {                                      \
    TileConfig config;                                                                             \
    config.rows[3] = 4;                                                                            \
    config.row_bytes[3] = 8;                                                                       \
    asm volatile("ldtilecfg %2\n mov %0, %%" base "\n mov %3, %%" index "\n" load " " displacement \
                 "(%%" base ",%%" index "," scale "), %%tmm3\n mov %1, %%" base                    \
                 "\n tilestored %%tmm3, " displacement "(%%" base ",%%" index "," scale            \
                 ")\n"                                                                             \
                 "tilerelease"                                                                     \
                 :                                                                                 \
                 : "S"(source), "D"(target), "m"(config), "d"(apart)                               \
                 : "memory", base, index);                                                         \
  }

TEST(TileTrapTest, RegistersAndDisplacementsMakeTheAddress) {
  std::array<uint8_t, 512> from{};
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i % 251 + 1);
  // Rows `stride` apart from `first` on.
  const auto expect = [&](auto move, int64_t unscaled, int scale, int first) {
    std::array<uint8_t, 512> to{};
    move(from.data(), to.data(), unscaled);
    const int64_t stride = unscaled * scale;
    for (int64_t i = 0; i < static_cast<int64_t>(to.size()); ++i) {
      const int64_t at = i - first;
      const bool inside = at >= 0 && at / stride < 4 && at % stride < 8;
      ASSERT_EQ(to[static_cast<size_t>(i)], inside ? from[static_cast<size_t>(i)] : 0)
          << "byte " << i << ", rows of " << stride;
    }
  };
  expect(MOVES("tileloadd", "rax", "rcx", "1", ""), 20, 1, 0);
  expect(MOVES("tileloadd", "r8", "r9", "2", "16"), 10, 2, 16);
  expect(MOVES("tileloaddt1", "r12", "rcx", "4", "127"), 5, 4, 127);
  expect(MOVES("tileloadd", "r13", "r12", "8", "128"), 8, 8, 128);
  expect(MOVES("tileloadd", "r14", "r15", "1", "255"), 64, 1, 255);
  expect(MOVES("tileloadd", "r10", "r11", "1", "1"), 9, 1, 1);
}

TEST(TileTrapTest, ConfigurationsAreKeptAndRowsMayGoBackwards) {
  alignas(64) const TileConfig config = Shape(2, 3, 4);
  std::array<uint8_t, 64> kept{};
  std::array<uint8_t, 64> released{};
  std::array<uint8_t, 32> rows{};
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<uint8_t>(i + 1);
  std::array<uint8_t, 32> turned{};
  released.fill(0xee);
  asm volatile(
      "ldtilecfg %0\n sttilecfg %1\n tileloadd (%3,%4,1), %%tmm0\n"
      "tilestored %%tmm0, 16(%5,%6,1)\n tilerelease\n sttilecfg %2"
      :
      : "m"(config), "m"(kept), "m"(released), "r"(rows.data()), "r"(int64_t{16}),
        "r"(turned.data()), "r"(int64_t{-16})
      : "memory");
  EXPECT_EQ(std::memcmp(&config, kept.data(), sizeof(config)), 0);
  EXPECT_EQ(released, (std::array<uint8_t, 64>{}));
  EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 16, turned.begin() + 16));
  EXPECT_TRUE(std::equal(rows.begin() + 16, rows.end(), turned.begin()));
  EXPECT_EQ(ThreadsWithTiles(), 0);
}

constexpr int kStaticRows = 5;
alignas(64) const TileConfig kStaticConfig = Shape(kStaticRows, 1, 1);

TEST(TileTrapTest, ConfigurationsMayBeRelativeToTheInstructionAndIndexed) {
  std::array<uint8_t, 256> kept{};
  asm volatile("ldtilecfg %0\n sttilecfg 24(%1,%2,4)\n tilerelease"
               :
               : "m"(kStaticConfig), "r"(kept.data()), "r"(int64_t{16})
               : "memory");
  EXPECT_EQ(std::memcmp(&kStaticConfig, kept.data() + 88, sizeof(kStaticConfig)), 0);
  EXPECT_EQ(kept[88 + 48], kStaticRows);
}

TEST(TileTrapTest, AConfigurationZeroesTheTiles) {
  std::array<uint8_t, 1024> bytes;
  bytes.fill(9);
  kernels::AmxTiles unit;
  unit.Configure(Shape(16, 16, 16));
  unit.Load<2>(bytes.data(), 64);
  unit.Configure(Shape(16, 16, 16));
  unit.Store<2>(bytes.data(), 64);
  EXPECT_EQ(bytes, (std::array<uint8_t, 1024>{}));
  bytes.fill(9);
  unit.Load<2>(bytes.data(), 64);
  unit.Release();
  unit.Configure(Shape(16, 16, 16));
  unit.Store<2>(bytes.data(), 64);
  unit.Release();
  EXPECT_EQ(bytes, (std::array<uint8_t, 1024>{}));
}

TEST(TileTrapTest, ThreadsWithTilesAreCounted) {
  if (!TilesAreTrapped()) GTEST_SKIP() << "this machine has AMX";
  const uint64_t before = TrappedInstructions(TileOpcode::kLdTileCfg);
  kernels::AmxTiles unit;
  unit.Configure(Shape(1, 1, 1));
  unit.Configure(Shape(2, 2, 2));
  EXPECT_EQ(ThreadsWithTiles(), 1);
  unit.Release();
  unit.Release();
  EXPECT_EQ(ThreadsWithTiles(), 0);
  EXPECT_EQ(TrappedInstructions(TileOpcode::kLdTileCfg), before + 2);
}

TEST(TileTrapDeathTest, WhatAProcessorRefusesEndsTheProcessWithAText) {
  if (!TilesAreTrapped()) GTEST_SKIP() << "this machine has AMX";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  kernels::AmxTiles unit;
  uint8_t bytes[1024] = {};
  EXPECT_DEATH(unit.Zero<0>(), "tilezero at 0x[0-9a-f]+: #UD: no tiles are configured");
  EXPECT_DEATH(
      {
        unit.Configure(Shape(16, 16, 16));
        unit.Release();
        unit.Load<1>(bytes, 64);
      },
      "tileloadd at 0x[0-9a-f]+: #UD: no tiles are configured");
  EXPECT_DEATH(
      {
        unit.Configure(Shape(16, 8, 16));
        (unit.DotBF16<0, 2, 1>());
      },
      "tdpbf16ps at 0x[0-9a-f]+: #UD: the sums and the first factor differ in rows");
  EXPECT_DEATH(unit.Configure(Shape(17, 1, 1)), "ldtilecfg at 0x[0-9a-f]+: #GP: more than 16");
  // TDPBF16PS of tiles 0, 1 and 0; UD2.
  EXPECT_DEATH(asm volatile(".byte 0xc4, 0xe2, 0x7a, 0x5c, 0xc1"),
               "none of AMX .two operands are the same tile.: c4 e2 7a 5c c1");
  EXPECT_DEATH(__builtin_trap(), "illegal instruction at 0x[0-9a-f]+, none of AMX");
}

TEST(TileTrapDeathTest, MemoryFaultsAreFaults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  kernels::AmxTiles unit;
  const auto end = [](int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; };
  EXPECT_EXIT(
      {
        unit.Configure(Shape(1, 1, 1));
        unit.Load<0>(nullptr, 64);
      },
      end, "");
}

}  // namespace
}  // namespace inferd::testing
