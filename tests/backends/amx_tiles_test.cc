// The processor's tile registers against their emulation, where the processor and the
// operating system have them; elsewhere these tests are skipped.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/linear_bf16.h"
#include "cpu/linear_int.h"
#include "cpu/tile_unit.h"
#include "inferd/backends/backend.h"

namespace inferd::kernels {
namespace {

// out[m][n] += a b for `rows` rows, `quads` times four bytes of inputs and `columns`.
struct Shape {
  uint8_t rows;
  uint8_t quads;
  uint8_t columns;
};

TileConfig ConfigFor(const Shape& s) {
  TileConfig config;
  config.rows[0] = config.rows[1] = s.rows;
  config.row_bytes[0] = static_cast<uint16_t>(4 * s.columns);
  config.row_bytes[1] = static_cast<uint16_t>(4 * s.quads);
  config.rows[2] = s.quads;
  config.row_bytes[2] = static_cast<uint16_t>(4 * s.columns);
  return config;
}

struct Operands {
  std::array<std::array<uint32_t, 16>, 16> c{};
  std::array<std::array<uint32_t, 16>, 16> a{};
  std::array<std::array<uint32_t, 16>, 16> b{};
};

// c after one product; rows and columns outside the tile stay.
enum class Dots : uint8_t { kBF16, kS8U8, kS8S8 };
template <class Unit, Dots kDots>
Operands Multiply(const Shape& shape, Operands operands) {
  Unit unit;
  unit.Configure(ConfigFor(shape));
  unit.template Load<0>(operands.c.data(), 64);
  unit.template Load<1>(operands.a.data(), 64);
  unit.template Load<2>(operands.b.data(), 64);
  if constexpr (kDots == Dots::kBF16) unit.template DotBF16<0, 1, 2>();
  if constexpr (kDots == Dots::kS8U8) unit.template DotS8U8<0, 1, 2>();
  if constexpr (kDots == Dots::kS8S8) unit.template DotS8S8<0, 1, 2>();
  unit.template Store<0>(operands.c.data(), 64);
  unit.Release();
  return operands;
}

#if defined(__x86_64__)

// Which NaN a sum of several is, the emulation does not say.
bool Same(uint32_t actual, uint32_t expected) {
  return actual == expected ||
         (std::isnan(std::bit_cast<float>(actual)) && std::isnan(std::bit_cast<float>(expected)));
}

template <Dots kDots>
void ExpectSame(const Shape& shape, const Operands& operands) {
  const Operands actual = Multiply<AmxTiles, kDots>(shape, operands);
  const Operands expected = Multiply<EmulatedTiles, kDots>(shape, operands);
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 16; ++n) {
      const bool same = kDots == Dots::kBF16 ? Same(actual.c[m][n], expected.c[m][n])
                                             : actual.c[m][n] == expected.c[m][n];
      ASSERT_TRUE(same) << int{shape.rows} << " rows, " << int{shape.quads} << " quads, "
                        << int{shape.columns} << " columns, at " << m << " " << n << std::hex
                        << ": " << actual.c[m][n] << " is not " << expected.c[m][n];
    }
  }
}

template <class Random>
Shape AnyShape(Random& random) {
  const auto one = [&] { return static_cast<uint8_t>(1 + random() % 16); };
  return {one(), one(), one()};
}

TEST(AmxTilesTest, Bf16ProductsAreThoseOfTheEmulation) {
  if (!AmxBf16Runs()) GTEST_SKIP() << "this machine has no AMX-BF16";
  std::mt19937 random(1);
  // Of ordinary size; around the least normal product; anything, infinities, NaN and
  // denormals among it.
  const auto value = [&](int kind) {
    const auto bits = static_cast<uint32_t>(random());
    if (kind == 2) return bits & 0xffffU;
    const uint32_t exponent = kind == 0 ? 119 + (bits >> 16) % 16 : 60 + (bits >> 16) % 8;
    return (bits & 0x807fU) | exponent << 7;
  };
  for (int kind = 0; kind < 3; ++kind) {
    for (int i = 0; i < 400; ++i) {
      const Shape shape = i < 40 ? Shape{16, 16, 16} : AnyShape(random);
      Operands operands;
      for (auto* tile : {&operands.a, &operands.b}) {
        for (auto& row : *tile) {
          for (uint32_t& pair : row) pair = value(kind) | value(kind) << 16;
        }
      }
      for (auto& row : operands.c) {
        for (uint32_t& sum : row) sum = value(kind) << 16 | (random() & 0xffffU);
      }
      ExpectSame<Dots::kBF16>(shape, operands);
    }
  }
}

TEST(AmxTilesTest, ByteProductsAreThoseOfTheEmulation) {
  if (!AmxInt8Runs()) GTEST_SKIP() << "this machine has no AMX-INT8";
  std::mt19937 random(2);
  for (int i = 0; i < 400; ++i) {
    const Shape shape = i < 40 ? Shape{16, 16, 16} : AnyShape(random);
    Operands operands;
    for (auto* tile : {&operands.a, &operands.b, &operands.c}) {
      for (auto& row : *tile) {
        // Now and then bytes at both ends of their range.
        for (uint32_t& quad : row) {
          quad = random() % 4 == 0 ? 0x80ff7f00U : static_cast<uint32_t>(random());
        }
      }
    }
    ExpectSame<Dots::kS8U8>(shape, operands);
    ExpectSame<Dots::kS8S8>(shape, operands);
  }
}

TEST(AmxTilesTest, LoadAndStoreMoveConfiguredRowsOnly) {
  if (!AmxBf16Runs() && !AmxInt8Runs()) GTEST_SKIP() << "this machine has no AMX";
  std::array<uint8_t, 2048> from{};
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i % 251 + 1);
  const auto move = [&]<class Unit>(Unit&& unit, const Shape& shape,
                                    std::array<uint8_t, 2048>* to) {
    unit.Configure(ConfigFor(shape));
    unit.template Load<1>(from.data(), 100);
    unit.template Store<1>(to->data(), 120);
    unit.template Zero<2>();
    unit.template Store<2>(to->data() + 64, 120);  // beside it
    unit.Release();
  };
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const Shape shape = AnyShape(random);
    std::array<uint8_t, 2048> actual;
    actual.fill(0xee);
    std::array<uint8_t, 2048> expected = actual;
    move(AmxTiles(), shape, &actual);
    move(EmulatedTiles(), shape, &expected);
    ASSERT_EQ(actual, expected) << int{shape.rows} << " rows of " << 4 * int{shape.quads};
  }
}

// Values that a compiler would otherwise keep in registers, or not write at all, are in memory
// when an instruction reads it, and read again when one has written it.
TEST(AmxTilesTest, InstructionsReadAndWriteMemory) {
  if (!AmxBf16Runs() && !AmxInt8Runs()) GTEST_SKIP() << "this machine has no AMX";
  AmxTiles unit;
  TileConfig config;
  config.rows[0] = 1;
  config.row_bytes[0] = 4;
  unit.Configure(config);
  config.rows[0] = 2;
  uint32_t from = 3;
  uint32_t to = 5;
  unit.Load<0>(&from, 64);
  from = 7;
  unit.Store<0>(&to, 64);
  EXPECT_EQ(to, 3U);
  unit.Load<0>(&from, 64);
  unit.Store<0>(&to, 64);
  unit.Release();
  EXPECT_EQ(to, 7U);
  EXPECT_EQ(config.rows[0], 2);
}

// Benchmarks run it.
TEST(AmxTilesTest, TheirCeilingCanBeMeasured) {
  if (!AmxBf16Runs()) GTEST_SKIP() << "this machine has no AMX-BF16";
  float sink = 1;
  EXPECT_EQ(BurnTileProducts(3, &sink), 3 * 4 * 2.0 * 16 * 16 * 32);
}

// The operating system keeps every thread's tiles, and gives them to threads that are
// older than the first request for them too.
TEST(AmxTilesTest, TilesAreOfTheThreadAndSurviveItsNeighbours) {
  constexpr int kThreads = 3;
  constexpr int kTurns = 40;
  std::atomic<int> allowed{-1};
  std::atomic<int> turn{0};
  std::array<int, kThreads> wrong{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      allowed.wait(-1);
      if (allowed == 0) return;
      alignas(64) std::array<uint8_t, 1024> mine;
      mine.fill(static_cast<uint8_t>(t + 1));
      AmxTiles unit;
      unit.Configure(ConfigFor({16, 16, 16}));
      unit.Load<1>(mine.data(), 64);
      for (int i = 0; i < kTurns; ++i) {
        for (int now = turn; now % kThreads != t; now = turn) turn.wait(now);
        alignas(64) std::array<uint8_t, 1024> kept{};
        unit.Store<1>(kept.data(), 64);
        wrong[static_cast<size_t>(t)] += kept != mine ? 1 : 0;
        ++turn;
        turn.notify_all();
      }
      unit.Release();
    });
  }
  const bool runs = AmxBf16Runs() || AmxInt8Runs();
  allowed = runs ? 1 : 0;
  allowed.notify_all();
  for (std::thread& thread : threads) thread.join();
  if (!runs) GTEST_SKIP() << "this machine has no AMX";
  EXPECT_EQ(wrong, (std::array<int, kThreads>{}));
}

// Else the products above are right and yet not used.
TEST(AmxTilesTest, TheBackendChoosesThem) {
  if (!AmxBf16Runs() && !AmxInt8Runs()) GTEST_SKIP() << "this machine has no AMX";
  const auto description = [](bool amx) {
    BackendOptions options;
    options.threads = 1;
    options.activations = Activations::kAuto;
    options.amx = amx;
    auto backend = CreateBackend("cpu", options);
    return backend.ok() ? (*backend)->Description() : backend.status().ToString();
  };
  const std::string with = description(true);
  EXPECT_EQ(with.find("bf16 by AMX") != std::string::npos, AmxBf16Runs()) << with;
  EXPECT_EQ(with.find("8-bit products by AMX") != std::string::npos, AmxInt8Runs()) << with;
  EXPECT_EQ(description(false).find("AMX"), std::string::npos) << description(false);
  EXPECT_EQ(Bf16UnitRuns(Bf16Unit::kTiles), AmxBf16Runs());
  EXPECT_EQ(IntTilesAgree(), AmxInt8Runs());
}

#endif  // __x86_64__

// A result below the least normal number that rounds up to it: not tiny where 24 bits
// of it already are that number, else zero, as MXCSR's flush-to-zero has it.
TEST(EmulatedTilesTest, TininessIsSeenAfterRoundingTo24Bits) {
  const auto product = [](float even, float other) {
    Operands operands;
    // 1 times `even` in the first pair, then 2^-63 squared times 1 - `other`.
    operands.a[0][0] = 0x3f80;
    operands.b[0][0] = std::bit_cast<uint32_t>(even) >> 16;
    operands.a[0][1] = std::bit_cast<uint32_t>(0x1p-63F) >> 16;
    operands.b[1][0] = std::bit_cast<uint32_t>(other) >> 16;
    return std::bit_cast<float>(Multiply<EmulatedTiles, Dots::kBF16>({1, 2, 1}, operands).c[0][0]);
  };
  const float least = 0x1p-126F;
  EXPECT_EQ(product(least, 0.0F), least);
  // 2^-126 less 2^-150, of 24 bits: tiny, although 23 bits of it round up to 2^-126.
  EXPECT_EQ(product(least, -0x1p-87F), 0.0F);
  // 2^-126 less 2^-151: 24 bits are 2^-126.
  EXPECT_EQ(product(least, -0x1p-88F), least);
  EXPECT_EQ(product(-least, 0x1p-87F), 0.0F);
  EXPECT_EQ(product(-least, 0x1p-88F), -least);
}

}  // namespace
}  // namespace inferd::kernels
