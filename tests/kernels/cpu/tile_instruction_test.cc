// The decoder of tile instructions against what the assembler makes of them, and bytes that are
// none of them.
#include "kernels/cpu/tile_instruction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace inferd::testing {
namespace {

struct Code {
  const uint8_t* begin = nullptr;
  const uint8_t* end = nullptr;
};

// An instruction as the assembler writes it; it is not run.
#define ASSEMBLED(text)                                 \
  [] {                                                  \
    Code code;                                          \
    asm volatile("jmp 2f\n1: " text                     \
                 "\n2:\n"                               \
                 "lea 1b(%%rip), %0\nlea 2b(%%rip), %1" \
                 : "=r"(code.begin), "=r"(code.end));   \
    return code;                                        \
  }()

struct Operands {
  std::array<uint8_t, 3> tiles{};
  int base = kNoRegister;
  int index = kNoRegister;
  int scale = 0;
  int displacement = 0;
};

void ExpectDecoded(const Code& code, TileOpcode opcode, const Operands& operands) {
  TileInstruction i;
  ASSERT_EQ(DecodeTileInstruction(code.begin, &i), nullptr);
  EXPECT_EQ(TileOpcodeName(i.opcode), TileOpcodeName(opcode));
  EXPECT_EQ(i.length, code.end - code.begin);
  EXPECT_EQ(std::to_array(i.tile), operands.tiles);
  EXPECT_EQ(i.base, operands.base);
  EXPECT_EQ(i.index, operands.index);
  EXPECT_EQ(i.scale, operands.scale);
  EXPECT_EQ(i.displacement, operands.displacement);
}

enum Number : int {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR12 = 12,
  kR13,
  kR15 = 15
};

TEST(TileInstructionTest, TilesAreNamedInTheOrderOfTheManual) {
  using enum TileOpcode;
  ExpectDecoded(ASSEMBLED("tilerelease"), kTileRelease, {});
  ExpectDecoded(ASSEMBLED("tilezero %%tmm0"), kTileZero, {});
  ExpectDecoded(ASSEMBLED("tilezero %%tmm7"), kTileZero, {{7}});
  // The assembler's operands stand in the other order.
  ExpectDecoded(ASSEMBLED("tdpbf16ps %%tmm3, %%tmm2, %%tmm1"), kTdpBF16PS, {{1, 2, 3}});
  ExpectDecoded(ASSEMBLED("tdpbssd %%tmm6, %%tmm4, %%tmm0"), kTdpBSSD, {{0, 4, 6}});
  ExpectDecoded(ASSEMBLED("tdpbsud %%tmm7, %%tmm5, %%tmm3"), kTdpBSUD, {{3, 5, 7}});
  ExpectDecoded(ASSEMBLED("tdpbusd %%tmm0, %%tmm7, %%tmm6"), kTdpBUSD, {{6, 7, 0}});
  ExpectDecoded(ASSEMBLED("tdpbuud %%tmm1, %%tmm0, %%tmm2"), kTdpBUUD, {{2, 0, 1}});
}

TEST(TileInstructionTest, AddressesAreThoseOfTheAssembler) {
  using enum TileOpcode;
  ExpectDecoded(ASSEMBLED("tileloadd (%%rax,%%rcx,1), %%tmm2"), kTileLoadD, {{2}, kRax, kRcx, 1});
  ExpectDecoded(ASSEMBLED("tileloaddt1 (%%rdx,%%rbx,2), %%tmm3"), kTileLoadDT1,
                {{3}, kRdx, kRbx, 2});
  ExpectDecoded(ASSEMBLED("tilestored %%tmm4, -128(%%rsi,%%rdi,4)"), kTileStoreD,
                {{4}, kRsi, kRdi, 4, -128});
  ExpectDecoded(ASSEMBLED("tilestored %%tmm5, 128(%%r8,%%r9,8)"), kTileStoreD,
                {{5}, kR8, kR9, 8, 128});
  ExpectDecoded(ASSEMBLED("tileloadd 0x12345678(%%r15,%%r12,1), %%tmm6"), kTileLoadD,
                {{6}, kR15, kR12, 1, 0x12345678});
  // Bases and indices with a rule of their own.
  ExpectDecoded(ASSEMBLED("tileloadd (%%rsp,%%rbp,1), %%tmm0"), kTileLoadD, {{0}, kRsp, kRbp, 1});
  ExpectDecoded(ASSEMBLED("tileloadd (%%rbp,%%r13,1), %%tmm0"), kTileLoadD, {{0}, kRbp, kR13, 1});
  ExpectDecoded(ASSEMBLED("tileloadd (%%r12,%%rax,1), %%tmm0"), kTileLoadD, {{0}, kR12, kRax, 1});
  ExpectDecoded(ASSEMBLED("tileloadd (%%r13,%%r15,1), %%tmm0"), kTileLoadD, {{0}, kR13, kR15, 1});
  ExpectDecoded(ASSEMBLED("tileloadd 64(,%%rcx,2), %%tmm1"), kTileLoadD,
                {{1}, kNoRegister, kRcx, 2, 64});
  ExpectDecoded(ASSEMBLED("tileloadd 8(%%rax), %%tmm1"), kTileLoadD,
                {{1}, kRax, kNoRegister, 1, 8});
  ExpectDecoded(ASSEMBLED("ldtilecfg (%%rax)"), kLdTileCfg, {{}, kRax, kNoRegister, 1});
  ExpectDecoded(ASSEMBLED("ldtilecfg 64(%%rsp)"), kLdTileCfg, {{}, kRsp, kNoRegister, 1, 64});
  ExpectDecoded(ASSEMBLED("ldtilecfg -8(%%r13)"), kLdTileCfg, {{}, kR13, kNoRegister, 1, -8});
  ExpectDecoded(ASSEMBLED("ldtilecfg 2f(%%rip)"), kLdTileCfg,
                {{}, kInstructionPointer, kNoRegister, 1});
  ExpectDecoded(ASSEMBLED("sttilecfg 0x1000(%%r8,%%r9,4)"), kStTileCfg, {{}, kR8, kR9, 4, 0x1000});
}

TEST(TileInstructionTest, OtherBytesAreRefused) {
  const auto refused = [](std::initializer_list<uint8_t> bytes, const char* why) {
    std::array<uint8_t, 16> code{};
    std::copy(bytes.begin(), bytes.end(), code.begin());
    TileInstruction instruction;
    const char* wrong = DecodeTileInstruction(code.data(), &instruction);
    EXPECT_STREQ(wrong == nullptr ? "nothing" : wrong, why);
  };
  refused({0x0f, 0x0b}, "not a VEX prefix of three bytes");  // ud2
  refused({0x66, 0xc4, 0xe2, 0x7b, 0x49, 0xc0}, "not a VEX prefix of three bytes");
  refused({0xf0, 0xc4, 0xe2, 0x7b, 0x49, 0xc0}, "not a VEX prefix of three bytes");
  refused({0xc4, 0xe1, 0x7b, 0x49, 0xc0}, "not of the map 0F38");
  refused({0xc4, 0xe2, 0xfb, 0x49, 0xc0}, "VEX.W is 1");
  refused({0xc4, 0xe2, 0x7f, 0x49, 0xc0}, "VEX.L is 1");
  refused({0xc4, 0xe2, 0x7b, 0x48, 0xc0}, "not an opcode of AMX");
  refused({0xc4, 0xe2, 0x73, 0x49, 0xc0}, "VEX.vvvv is not 1111b");             // tilezero
  refused({0xc4, 0xe2, 0x73, 0x4b, 0x04, 0x08}, "VEX.vvvv is not 1111b");       // tileloadd
  refused({0xc4, 0x62, 0x7b, 0x49, 0xc0}, "there is no such tile");             // tilezero 8
  refused({0xc4, 0xe2, 0x7b, 0x49, 0xc1}, "no such instruction of opcode 49");  // rm is not 0
  refused({0xc4, 0xe2, 0x78, 0x49, 0xc8}, "no such instruction of opcode 49");  // tilerelease
  refused({0xc4, 0xe2, 0x7a, 0x49, 0x00}, "no such instruction of opcode 49");  // F3
  refused({0xc4, 0xe2, 0x78, 0x49, 0x08}, "the digit of LDTILECFG or STTILECFG is not 0");
  refused({0xc4, 0xe2, 0x7b, 0x4b, 0x00}, "the operand has no SIB");
  refused({0xc4, 0xe2, 0x7b, 0x4b, 0xc4}, "the operand has no SIB");
  refused({0xc4, 0xe2, 0x78, 0x4b, 0x04, 0x08}, "no such instruction of opcode 4B");
  refused({0xc4, 0x62, 0x7b, 0x4b, 0x04, 0x08}, "there is no such tile");
  refused({0xc4, 0xe2, 0x53, 0x5c, 0xc4}, "no such instruction of opcode 5C");  // TDPFP16PS
  refused({0xc4, 0xe2, 0x52, 0x5c, 0x04}, "an operand in memory of a product of tiles");
  refused({0xc4, 0xe2, 0x12, 0x5c, 0xc4}, "there is no such tile");           // vvvv of 13
  refused({0xc4, 0xc2, 0x52, 0x5c, 0xc4}, "there is no such tile");           // rm of 12
  refused({0xc4, 0xe2, 0x4a, 0x5c, 0xf7}, "two operands are the same tile");  // 6 7 6
  refused({0xc4, 0xe2, 0x7a, 0x5c, 0xc1}, "two operands are the same tile");  // 0 1 0
  refused({0xc4, 0xe2, 0x52, 0x5c, 0xcd}, "two operands are the same tile");  // 1 5 5
}

}  // namespace
}  // namespace inferd::testing
