// An output row depends on its own input row and sequence only, bit for bit: not
// on the number of rows, their order, or how a prompt was chunked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backends/ref/ref_ops.h"
#include "inferd/backends/backend.h"
#include "ops/cases.h"

namespace inferd::testing {
namespace {

using Rows = std::vector<float>;

// Rows `ids` of a [., n] matrix.
Rows Pick(const Rows& x, int64_t n, const std::vector<int64_t>& ids) {
  Rows out;
  for (const int64_t id : ids) out.insert(out.end(), x.begin() + id * n, x.begin() + (id + 1) * n);
  return out;
}

bool SameBits(const Rows& a, const Rows& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class InvarianceTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    auto backend = CreateBackend(GetParam(), {3, nullptr});
    if (!backend.ok()) GTEST_SKIP() << backend.status().ToString();
    backend_ = std::move(*backend);
    const int64_t bytes = ops().ScratchBytes(512, 64, 2048, 1);
    auto scratch = Buffer::Create(ops().allocator(), static_cast<size_t>(bytes));
    ASSERT_TRUE(scratch.ok());
    scratch_ = std::move(*scratch);
    ops().SetScratch({scratch_.data(), DType::kU8, {bytes}});
  }
  Ops& ops() { return backend_->ops(); }
  TensorView scratch() {
    return {scratch_.data(), DType::kU8, {static_cast<int64_t>(scratch_.size())}};
  }

  Rows RunLinear(const Rows& x, int64_t rows, const LinearWeight& weight) {
    return RunOnRows(ops(), x, rows, weight.out_features,
                     [&](TensorView in, TensorView out) { ops().Linear(in, weight, out); });
  }

  // `run` maps [rows, in] to [rows, out]. Compares all rows at once with each
  // alone, in other orders and in pieces.
  template <class Run>
  void ExpectRowsIndependent(int64_t rows, int64_t in, int64_t out, const Run& run) {
    const Rows x = Normal(5, rows * in);
    std::vector<int64_t> all(static_cast<size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    const Rows together = run(x, rows);
    std::vector<std::vector<int64_t>> subsets;
    for (int64_t i = 0; i < rows; ++i) subsets.push_back({i});
    for (const int64_t count : {2, 3, 4, 5, 7, 8, 12, 13, 17, 31, 63}) {
      if (count >= rows) break;
      for (int64_t first = 0; first + count <= rows; first += count) {
        subsets.emplace_back(all.begin() + first, all.begin() + first + count);
      }
    }
    subsets.emplace_back(all.rbegin(), all.rend());
    for (const auto& subset : subsets) {
      const auto count = static_cast<int64_t>(subset.size());
      ASSERT_TRUE(SameBits(run(Pick(x, in, subset), count), Pick(together, out, subset)))
          << count << " rows from " << subset[0];
    }
  }

 private:
  std::unique_ptr<Backend> backend_;
  Buffer scratch_;
};

TEST_P(InvarianceTest, Linear) {
  struct Shape {
    int64_t in;
    int64_t out;
  };
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const Shape s : {Shape{33, 70}, Shape{288, 100}, Shape{1100, 161}}) {
      auto weight = PackLinear({1, s.in, s.out, format}, ops());
      ASSERT_TRUE(weight.ok());
      ExpectRowsIndependent(64, s.in, s.out, [&](const Rows& x, int64_t rows) {
        return RunLinear(x, rows, *weight);
      });
    }
  }
}

// Integer weights of every kind; see LinearShape.
TEST_P(InvarianceTest, IntegerLinear) {
  using WF = WeightFormat;
  const std::vector<LinearShape> shapes = {
      {1, 33, 70, WF::kInt8},
      {1, 1100, 161, WF::kInt8, 2, true},
      {1, 96, 70, WF::kInt4, 1, false, 32},
      {1, 768, 161, WF::kInt4, 2, true, 128, /*half_scales=*/false, /*zero_per_group=*/true},
      {1, 320, 100, WF::kInt4, 1, true, 64, /*half_scales=*/true, /*zero_per_group=*/false},
  };
  for (const LinearShape& s : shapes) {
    SCOPED_TRACE(LinearCase(s).name);
    auto weight = PackLinear(s, ops());
    ASSERT_TRUE(weight.ok());
    ExpectRowsIndependent(64, s.in, s.out,
                          [&](const Rows& x, int64_t rows) { return RunLinear(x, rows, *weight); });
  }
}

// FP8 weights of every kind: a scale a row, a group of one block, of parts of blocks.
TEST_P(InvarianceTest, Fp8Linear) {
  for (const WeightFormat format : {WeightFormat::kFp8, WeightFormat::kFp8Weights}) {
    const std::vector<LinearShape> shapes = {
        {1, 33, 70, format},
        {1, 300, 161, format, 2, true},
        {1, 256, 140, format, 1, true, 128},
        {1, 384, 70, format, 1, true, 192},
    };
    for (const LinearShape& s : shapes) {
      SCOPED_TRACE(LinearCase(s).name);
      if (!ops().Supports(format)) continue;
      auto weight = PackLinear(s, ops());
      ASSERT_TRUE(weight.ok());
      ExpectRowsIndependent(100, s.in, s.out, [&](const Rows& x, int64_t rows) {
        return RunLinear(x, rows, *weight);
      });
    }
  }
}

TEST_P(InvarianceTest, LinearWithLittleScratch) {
  const std::vector<LinearShape> shapes = {
      {1, 100, 70},
      {1, 128, 70, WeightFormat::kFp8, 1, false, 64},
      {1, 100, 70, WeightFormat::kInt8},
      {1, 96, 70, WeightFormat::kInt4, 1, false, 32},
  };
  for (const LinearShape& s : shapes) {
    SCOPED_TRACE(LinearCase(s).name);
    auto weight = PackLinear(s, ops());
    ASSERT_TRUE(weight.ok());
    const Rows x = Normal(6, 50 * s.in);
    const Rows whole = RunLinear(x, 50, *weight);
    auto little = Buffer::Create(ops().allocator(), 7 * s.in * sizeof(float));
    ASSERT_TRUE(little.ok());
    const TensorView all = scratch();
    ops().SetScratch({little->data(), DType::kU8, {static_cast<int64_t>(little->size())}});
    const Rows pieces = RunLinear(x, 50, *weight);
    ops().SetScratch(all);
    EXPECT_TRUE(SameBits(whole, pieces));
  }
}

TEST_P(InvarianceTest, ARowThatIsNotFiniteSpoilsNoOther) {
  const std::vector<LinearShape> shapes = {
      {1, 100, 70, WeightFormat::kInt8},
      {1, 96, 70, WeightFormat::kInt4, 1, true, 32},
      {1, 100, 70, WeightFormat::kFp8},
      {1, 128, 70, WeightFormat::kFp8, 1, true, 64},
  };
  constexpr int64_t kRows = 5;
  for (const LinearShape& s : shapes) {
    SCOPED_TRACE(LinearCase(s).name);
    auto weight = PackLinear(s, ops());
    ASSERT_TRUE(weight.ok());
    const Rows x = Normal(6, kRows * s.in);
    const Rows before = RunLinear(x, kRows, *weight);
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      Rows spoilt = x;
      spoilt[2 * s.in + s.in / 2] = bad;
      const Rows after = RunLinear(spoilt, kRows, *weight);
      for (int64_t i = 0; i < kRows * s.out; ++i) {
        if (i / s.out == 2) {
          ASSERT_TRUE(std::isnan(after[i])) << "output " << i % s.out;
        } else {
          ASSERT_EQ(after[i], before[i]);
        }
      }
    }
    // Rows of nothing, and of next to nothing, give the bias.
    const Rows bias = RunLinear(Rows(s.in, 0.0F), 1, *weight);
    EXPECT_TRUE(s.bias || bias == Rows(s.out, 0.0F));
    const Rows tiny = RunLinear(Rows(s.in, 1e-42F), 1, *weight);
    EXPECT_EQ(tiny, bias);
  }
}

TEST_P(InvarianceTest, RowOps) {
  Rows ones = Normal(4, 100);
  auto weight = ops().PackVector({ones.data(), DType::kF32, {100}});
  ASSERT_TRUE(weight.ok());
  ExpectRowsIndependent(64, 100, 100, [&](const Rows& x, int64_t rows) {
    return RunOnRows(ops(), x, rows, 100, [&](TensorView in, TensorView out) {
      ops().RmsNorm(in, *weight, 1e-5F, out);
    });
  });
  ExpectRowsIndependent(64, 100, 100, [&](const Rows& x, int64_t rows) {
    GuardedRows sum(rows, 100, &ops());
    sum.Set(x);
    return RunOnRows(ops(), x, rows, 100, [&](TensorView in, TensorView out) {
      ops().AddRmsNorm(sum.view(), in, *weight, 1e-5F, out);
    });
  });
  ExpectRowsIndependent(64, 74, 37, [&](const Rows& x, int64_t rows) {
    return RunOnRows(ops(), x, rows, 37,
                     [&](TensorView in, TensorView out) { ops().SiluMul(in, out); });
  });
}

// One prompt, fed in chunks, with other sequences beside it. Heads of 40 numbers and of
// 64: what has kernels for the second only takes the first by others.
template <int32_t kHeadDim>
class ChunkedPrompt {
 public:
  static constexpr int32_t kContext = 600;
  static constexpr int32_t kQHeads = 6;
  static constexpr int32_t kKvHeads = 2;
  static constexpr int32_t kDim = kHeadDim;
  static constexpr int64_t kWidth = int64_t{kQHeads + 2 * kKvHeads} * kDim;
  static constexpr int64_t kOutWidth = int64_t{kQHeads} * kDim;

  ChunkedPrompt(Ops& ops, DType dtype) : ops_(ops), prompt_(Normal(77, kContext * kWidth)) {
    kv_.spec = {kKvHeads, kDim, 16, dtype};
    kv_.num_blocks = 200;
    const auto bytes = static_cast<size_t>(kv_.num_blocks * ops.KvBytesPerBlock(kv_.spec));
    auto cache = Buffer::Create(ops.allocator(), bytes);
    INFERD_CHECK(cache.ok());
    cache_ = std::move(*cache);
    ops.Fill(cache_.data(), 0xff, bytes);
    kv_.data = cache_.data();
  }

  // q, k and v at a position.
  float* Row(int32_t position) { return prompt_.data() + position * kWidth; }

  // Attention outputs of the prompt's rows, in chunks of the given sizes (the
  // last repeats). `before`, `after`: neighbours with that many rows of their own
  // in each step, from position 0.
  Rows Run(const std::vector<int32_t>& chunks, int32_t before, int32_t after) {
    Rows result;
    int32_t done = 0;
    for (size_t i = 0; done < kContext; ++i) {
      const int32_t count = std::min(chunks[std::min(i, chunks.size() - 1)], kContext - done);
      std::vector<SequenceShape> shapes;
      if (before > 0) shapes.push_back({before, before});
      shapes.push_back({done + count, count});
      if (after > 0) shapes.push_back({after, after});
      StepFixture step(shapes, 16, kContext / 16 + 1);
      // Tables of our own: the prompt keeps its blocks from step to step.
      for (size_t b = 0; b < step.block_tables.size(); ++b) {
        const auto sequence = static_cast<int32_t>(b) / step.table_stride;
        const bool prompt = sequence == (before > 0 ? 1 : 0);
        const auto index = static_cast<int32_t>(b) % step.table_stride;
        step.block_tables[b] = prompt ? 1 + (index * 37) % 60 : 70 + sequence * 40 + index;
      }
      const auto plan = step.Plan(ops_);
      Rows qkv = Normal(1, before * kWidth);
      qkv.insert(qkv.end(), prompt_.begin() + done * kWidth,
                 prompt_.begin() + (done + count) * kWidth);
      const Rows others = Normal(2, after * kWidth);
      qkv.insert(qkv.end(), others.begin(), others.end());
      const int64_t rows = before + count + after;
      const Rows out = RunOnRows(ops_, qkv, rows, kOutWidth, [&](TensorView x, TensorView y) {
        ops_.AppendKv(*plan, x, kQHeads, kv_);
        ops_.Attention(*plan, x, kQHeads, kv_, 0.15F, y);
      });
      result.insert(result.end(), out.begin() + before * kOutWidth,
                    out.begin() + (before + count) * kOutWidth);
      done += count;
    }
    return result;
  }

 private:
  Ops& ops_;
  Rows prompt_;
  Buffer cache_;
  KvLayerView kv_;
};

TEST_P(InvarianceTest, AttentionOverChunksAndNeighbours) {
  const auto check = [&](DType dtype, auto prompt) {
    SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + std::to_string(prompt.kDim));
    const Rows whole = prompt.Run({prompt.kContext}, 0, 0);
    EXPECT_TRUE(SameBits(whole, prompt.Run({1}, 0, 0))) << "token by token";
    EXPECT_TRUE(SameBits(whole, prompt.Run({7, 100, 1, 33}, 0, 0))) << "odd chunks";
    EXPECT_TRUE(SameBits(whole, prompt.Run({64}, 5, 0))) << "after a neighbour";
    EXPECT_TRUE(SameBits(whole, prompt.Run({500, 1}, 1, 1))) << "decode between neighbours";
    EXPECT_TRUE(SameBits(whole, prompt.Run({300}, 0, 40))) << "before a neighbour";
    // Without memory for partials no sequence is split.
    ops().SetScratch({});
    EXPECT_TRUE(SameBits(whole, prompt.Run({500, 1}, 1, 1))) << "without scratch";
    ops().SetScratch(scratch());
  };
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8, DType::kF8E4M3}) {
    check(dtype, ChunkedPrompt<40>(ops(), dtype));
    if (dtype != DType::kF32) check(dtype, ChunkedPrompt<64>(ops(), dtype));
  }
}

// What is not finite in the cache shows in every row that sees it, and in no other.
TEST_P(InvarianceTest, AttentionHidesNoNaN) {
  using Prompt = ChunkedPrompt<64>;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8, DType::kF8E4M3}) {
    for (const int32_t part : {0, 1}) {  // a key, a value
      for (const float bad : {NAN, INFINITY}) {
        // As floats an infinite key may rightly weigh nothing.
        if (std::isinf(bad) && DTypeSize(dtype) != 1) continue;
        SCOPED_TRACE(std::string(DTypeName(dtype)) + (part == 0 ? " key" : " value"));
        constexpr int32_t kBad = 530;
        Prompt prompt(ops(), dtype);
        const Rows clean = prompt.Run({Prompt::kContext}, 0, 0);
        // Of the first kv head, in its second half.
        const int64_t head = Prompt::kQHeads + part * Prompt::kKvHeads;
        prompt.Row(kBad)[head * Prompt::kDim + 25] = bad;
        const Rows spoilt = prompt.Run({100}, 0, 0);
        for (int32_t p = 0; p < Prompt::kContext; ++p) {
          const float* row = spoilt.data() + p * Prompt::kOutWidth;
          if (p < kBad) {
            ASSERT_EQ(std::memcmp(row, clean.data() + p * Prompt::kOutWidth,
                                  Prompt::kOutWidth * sizeof(float)),
                      0)
                << p;
          } else {
            const auto corrupted = std::count_if(row, row + Prompt::kOutWidth,
                                                 [](float v) { return !std::isfinite(v); });
            ASSERT_GT(corrupted, 0) << p;
          }
        }
      }
    }
  }
}

std::vector<std::string_view> Names() { return BackendNames(); }
INSTANTIATE_TEST_SUITE_P(Backends, InvarianceTest, ::testing::ValuesIn(Names()),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace inferd::testing
