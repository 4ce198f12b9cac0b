// Rows of an embedding that are taken out of the packed head, or read from a file: the bits
// of the table, on each instruction set of this machine.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_ops.h"
#include "backends/instruction_sets.h"
#include "inferd/base/clock.h"
#include "inferd/ops/solo_step.h"

namespace inferd {
namespace {

using testing::OnlyTarget;
using testing::Targets;

struct Table {
  WeightFormat format = WeightFormat::kF32;
  int32_t vocab = 0;
  int64_t hidden = 0;
  std::vector<std::byte> bytes;

  TensorView view() { return {bytes.data(), FormatDType(format), {vocab, hidden}}; }
};

// Any bits at all: NaNs with what they carry, infinities, denormals, zeros of both signs.
Table MakeTable(WeightFormat format, int32_t vocab, int64_t hidden, std::mt19937* random) {
  Table table{format, vocab, hidden, {}};
  table.bytes.resize(static_cast<size_t>(vocab * hidden * DTypeSize(FormatDType(format))));
  for (std::byte& byte : table.bytes) byte = static_cast<std::byte>((*random)());
  return table;
}

std::vector<uint32_t> Embedded(CpuOps& ops, const EmbeddingTable& table,
                               std::span<const TokenId> tokens) {
  const auto rows = static_cast<int64_t>(tokens.size());
  const int64_t hidden = table.view.dim(1);
  std::vector<uint32_t> out(static_cast<size_t>(rows * hidden), 0xdeadbeef);
  const SoloStep step(tokens, 0, 16, {0});
  const auto plan = ops.MakeStepPlan(static_cast<int32_t>(rows), 1, static_cast<int32_t>(rows));
  ops.PlanStep(step.inputs(), plan.get());
  ops.Embed(*plan, table, {out.data(), DType::kF32, {rows, hidden}});
  EXPECT_TRUE(ops.Finish().ok());
  return out;
}

// Bytes that are elsewhere by `away`: what is read at the address itself is found out.
class MovedFile final : public FileBytes {
 public:
  explicit MovedFile(ptrdiff_t away) : away_(away) {}
  Status Read(void* to, const void* from, size_t bytes) const override {
    if (fails) return UnavailableError("a file has become shorter");
    std::memcpy(to, static_cast<const std::byte*>(from) + away_, bytes);
    return OkStatus();
  }
  bool fails = false;

 private:
  const ptrdiff_t away_;
};

TEST(PackedTableTest, RowsHaveTheBitsOfTheTable) {
  std::mt19937 random(20);
  SystemClock clock;
  for (const int64_t target : Targets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(kernels::TargetName());
    CpuOps ops({3, {}}, clock);
    for (const WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
      ASSERT_TRUE(ops.ReadsRows(format));
      for (int round = 0; round < 40; ++round) {
        // Vocabularies around whole panels, widths around whole pieces, odd ones too.
        const auto vocab = static_cast<int32_t>(1 + random() % 140);
        const auto hidden =
            static_cast<int64_t>(round % 8 == 0 ? 500 + random() % 1100 : 1 + random() % 90);
        Table host = MakeTable(format, vocab, hidden, &random);
        const RawLinear raw{format, host.view()};
        const auto head = ops.Pack({&raw, 1}, {});
        ASSERT_TRUE(head.ok());
        const auto packed = ops.TableOf(*head);
        const auto plain = ops.PackEmbedding(host.view());
        ASSERT_TRUE(packed.ok() && plain.ok());
        std::vector<TokenId> tokens;
        for (TokenId id = 0; id < vocab; ++id) tokens.push_back(id);
        for (int i = 0; i < 20; ++i) tokens.push_back(static_cast<TokenId>(random() % vocab));
        const auto expected = Embedded(ops, *plain, tokens);
        // The table once more, and nothing before it.
        std::vector<std::byte> file(host.bytes.size());
        file.insert(file.end(), host.bytes.begin(), host.bytes.end());
        const MovedFile files(static_cast<ptrdiff_t>(host.bytes.size()));
        EmbeddingTable read;
        read.view = TensorView(file.data(), FormatDType(format), {vocab, hidden});
        read.files = &files;
        ASSERT_EQ(Embedded(ops, read, tokens), expected) << vocab << " by " << hidden;
        ASSERT_EQ(Embedded(ops, *packed, tokens), expected)
            << "vocabulary " << vocab << ", width " << hidden << ", format "
            << static_cast<int>(format);
      }
    }
  }
}

TEST(PackedTableTest, TokensOutsideAreAnError) {
  std::mt19937 random(21);
  SystemClock clock;
  CpuOps ops({1, {}}, clock);
  Table host = MakeTable(WeightFormat::kBF16, 33, 8, &random);
  const RawLinear raw{host.format, host.view()};
  const auto head = ops.Pack({&raw, 1}, {});
  ASSERT_TRUE(head.ok());
  const auto table = ops.TableOf(*head);
  ASSERT_TRUE(table.ok());
  // The last panel has room for it.
  const std::vector<TokenId> tokens = {33};
  std::vector<float> out(8);
  const SoloStep step(tokens, 0, 16, {0});
  const auto plan = ops.MakeStepPlan(1, 1, 1);
  ops.PlanStep(step.inputs(), plan.get());
  ops.Embed(*plan, *table, {out.data(), DType::kF32, {1, 8}});
  EXPECT_FALSE(ops.Finish().ok());
}

TEST(PackedTableTest, AFileThatCannotBeReadIsAnError) {
  std::mt19937 random(22);
  SystemClock clock;
  CpuOps ops({2, {}}, clock);
  Table host = MakeTable(WeightFormat::kF16, 64, 512, &random);
  MovedFile files(0);
  EmbeddingTable table;
  table.view = host.view();
  table.files = &files;
  std::vector<TokenId> tokens(64);
  (void)Embedded(ops, table, tokens);
  files.fails = true;
  std::vector<float> out(64 * 512);
  const SoloStep step(tokens, 0, 16, {0});
  const auto plan = ops.MakeStepPlan(64, 1, 64);
  ops.PlanStep(step.inputs(), plan.get());
  ops.Embed(*plan, table, {out.data(), DType::kF32, {64, 512}});
  EXPECT_NE(ops.Finish().message().find("a file has become shorter"), std::string::npos);
  EXPECT_TRUE(ops.Finish().ok());
}

TEST(PackedTableTest, QuantisedRowsAreNotRead) {
  SystemClock clock;
  CpuOps ops({1, {}}, clock);
  for (const WeightFormat format :
       {WeightFormat::kInt8, WeightFormat::kInt4, WeightFormat::kFp8, WeightFormat::kFp8Weights}) {
    EXPECT_FALSE(ops.ReadsRows(format));
    LinearWeight head;
    head.format = format;
    EXPECT_EQ(ops.TableOf(head).status().code(), StatusCode::kUnimplemented);
  }
}

}  // namespace
}  // namespace inferd
