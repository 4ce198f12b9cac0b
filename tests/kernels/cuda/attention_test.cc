// Attention in emulation against softmax in double over what the cache holds, and
// against itself: a row's bits do not depend on who computes it.
#include "cuda/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "cuda/rope_kv.h"
#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

struct Sequence {
  int32_t context;
  int32_t rows;  // of the step: its last
};

struct Shape {
  int32_t q_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t block_size;
  KvType type;
  int32_t terms;
  std::vector<Sequence> sequences;
  Element element = Element::kF32;
};

// A step over a cache with scattered blocks. The numbers of a sequence depend on its
// name and the position alone.
class Step {
 public:
  Step(const Shape& shape, const std::vector<uint32_t>& names) : s_(shape) {
    int32_t longest = 1;
    for (const Sequence& q : s_.sequences) longest = std::max(longest, q.context);
    stride_ = (longest + s_.block_size - 1) / s_.block_size + 1;
    const auto count = static_cast<int32_t>(s_.sequences.size());
    tables_.resize(static_cast<size_t>(count * stride_), 0);
    int32_t next = count * stride_;
    for (int32_t& block : tables_) block = next--;
    row_start_.push_back(0);
    const int32_t width = (s_.q_heads + 2 * s_.kv_heads) * s_.head_dim;
    std::vector<float> step_rows;
    std::vector<float> all_rows;
    std::vector<int32_t> all_positions;
    std::vector<int32_t> all_sequences;
    for (int32_t i = 0; i < count; ++i) {
      const Sequence& q = s_.sequences[static_cast<size_t>(i)];
      context_.push_back(q.context);
      row_start_.push_back(row_start_.back() + q.rows);
      for (int32_t position = 0; position < q.context; ++position) {
        const auto row =
            Normals(names[static_cast<size_t>(i)] * 10007 + static_cast<uint32_t>(position),
                    static_cast<size_t>(width));
        all_rows.insert(all_rows.end(), row.begin(), row.end());
        all_positions.push_back(position);
        all_sequences.push_back(i);
        if (position < q.context - q.rows) continue;
        step_rows.insert(step_rows.end(), row.begin(), row.end());
        positions_.push_back(position);
        sequence_of_.push_back(i);
      }
    }
    kv_ = {nullptr, 0, s_.kv_heads, s_.head_dim, s_.block_size, s_.type, 1.0F, 1.0F};
    if (s_.type == KvType::kE4m3) {
      kv_.key_scale = 0.25F;
      kv_.value_scale = 0.5F;
    }
    kv_.block_bytes = KvBlockBytes(kv_);
    // What no token was written to stays NaN.
    cache_.emplace(static_cast<size_t>((count * stride_ + 1) * kv_.block_bytes));
    kv_.data = cache_->data();
    d_tables_.emplace(tables_);
    d_positions_.emplace(positions_);
    d_sequence_of_.emplace(sequence_of_);
    d_row_start_.emplace(row_start_);
    d_context_.emplace(context_);
    qkv_.emplace(s_.element, static_cast<int64_t>(positions_.size()), width, step_rows);

    DeviceRows all(s_.element, static_cast<int64_t>(all_positions.size()), width, all_rows);
    DeviceArray<int32_t> d_all_positions(all_positions);
    DeviceArray<int32_t> d_all_sequences(all_sequences);
    RopeKvParams append;
    append.qkv = all.view();
    append.positions = d_all_positions.data();
    append.row_sequence = d_all_sequences.data();
    append.block_tables = d_tables_->data();
    append.table_stride = stride_;
    append.num_q_heads = s_.q_heads;
    append.kv = kv_;
    append.num_rows = static_cast<int32_t>(all_positions.size());
    EXPECT_EQ(RopeKv(append, nullptr), 0) << emulator::LastError();
  }

  int32_t num_rows() const { return static_cast<int32_t>(positions_.size()); }

  AttentionParams Params(DeviceRows& out) {
    AttentionParams p;
    p.qkv = qkv_->view();
    p.out = out.view();
    p.kv = kv_;
    p.num_q_heads = s_.q_heads;
    p.scale = 1.0F / std::sqrt(static_cast<float>(s_.head_dim));
    p.row_start = d_row_start_->data();
    p.context_len = d_context_->data();
    p.block_tables = d_tables_->data();
    p.table_stride = stride_;
    p.row_sequence = d_sequence_of_->data();
    p.positions = d_positions_->data();
    p.num_rows = num_rows();
    p.terms = s_.terms;
    p.max_shared_bytes = shared_bytes_;
    return p;
  }

  enum class Way { kPlanned, kWhole, kPrefill, kPlain };

  // `room`: partial rows there is memory for.
  std::vector<float> Run(Way way, int32_t num_blocks = 5, int32_t room = 4000) {
    DeviceRows out(s_.element, num_rows(), int64_t{s_.q_heads} * s_.head_dim);
    AttentionParams p = Params(out);
    p.multiprocessors = num_blocks;
    p.max_partial_rows = room;
    if (way == Way::kPlain) {
      EXPECT_EQ(PlainAttention(p, nullptr), 0) << emulator::LastError();
      return out.Get();
    }
    const auto count = static_cast<int32_t>(s_.sequences.size());
    DeviceArray<DecodeItem> decode(static_cast<size_t>(MaxDecodeItems(count, 4096)));
    DeviceArray<PrefillItem> prefill(512);
    DeviceArray<AttentionCounts> counts(1);
    const auto partial_floats =
        static_cast<size_t>(int64_t{room} * s_.kv_heads * (s_.head_dim + 2));
    DeviceArray<float> partials(partial_floats);
    DeviceArray<int32_t> arrivals(std::vector<int32_t>(static_cast<size_t>(64 * s_.kv_heads), 0));
    AttentionWorkParams work;
    work.row_start = p.row_start;
    work.context_len = p.context_len;
    work.num_sequences = count;
    work.group = s_.q_heads / s_.kv_heads;
    work.num_kv_heads = s_.kv_heads;
    work.num_blocks = way == Way::kWhole ? 1 : 1000;
    work.max_decode = static_cast<int32_t>(decode.size());
    work.max_prefill = static_cast<int32_t>(prefill.size());
    work.max_partial_rows = way == Way::kWhole ? 0 : room;
    work.counts = counts.data();
    work.decode = decode.data();
    work.prefill = prefill.data();
    EXPECT_EQ(BuildAttentionWork(work, nullptr), 0) << emulator::LastError();
    if (way == Way::kPrefill) {
      counts[0] = {};
      for (int32_t i = 0; i < count; ++i) {
        const int32_t rows = s_.sequences[static_cast<size_t>(i)].rows * work.group;
        for (int32_t tile = 0; tile * kPrefillTileRows < rows; ++tile) {
          prefill[static_cast<size_t>(counts[0].num_prefill++)] = {i, tile};
        }
      }
    }
    p.counts = counts.data();
    p.decode = decode.data();
    p.prefill = prefill.data();
    p.partials = partials.data();
    p.arrivals = arrivals.data();
    EXPECT_TRUE(TensorAttentionFits(p));
    EXPECT_EQ(DecodeAttention(p, nullptr), 0) << emulator::LastError();
    EXPECT_EQ(PrefillAttention(p, nullptr), 0) << emulator::LastError();
    for (const int32_t n : arrivals.Get()) EXPECT_EQ(n, 0);
    return out.Get();
  }

  std::vector<double> Expected() {
    std::vector<double> out;
    const int32_t group = s_.q_heads / s_.kv_heads;
    for (int32_t r = 0; r < num_rows(); ++r) {
      const int32_t keys = positions_[static_cast<size_t>(r)] + 1;
      for (int32_t h = 0; h < s_.q_heads; ++h) {
        std::vector<double> weights;
        double max = -std::numeric_limits<double>::infinity();
        for (int32_t k = 0; k < keys; ++k) {
          double dot = 0;
          for (int32_t d = 0; d < s_.head_dim; ++d) {
            dot += double{qkv_->At(r, int64_t{h} * s_.head_dim + d)} *
                   Cached(sequence_of_[static_cast<size_t>(r)], k, false, h / group, d);
          }
          weights.push_back(dot / std::sqrt(static_cast<double>(s_.head_dim)));
          max = std::max(max, weights.back());
        }
        double sum = 0;
        for (double& w : weights) sum += w = std::exp(w - max);
        for (int32_t d = 0; d < s_.head_dim; ++d) {
          double mixed = 0;
          for (int32_t k = 0; k < keys; ++k) {
            mixed += weights[static_cast<size_t>(k)] *
                     Cached(sequence_of_[static_cast<size_t>(r)], k, true, h / group, d);
          }
          out.push_back(mixed / sum);
        }
      }
    }
    return out;
  }

  DeviceRows& qkv() { return *qkv_; }
  void SetSharedBytes(int32_t bytes) { shared_bytes_ = bytes; }

  // Makes NaN of a sequence's keys [from, its context) of every head.
  void SpoilKeys(int32_t sequence, int32_t from) {
    ASSERT_EQ(s_.type, KvType::kBf16);
    const int32_t context = s_.sequences[static_cast<size_t>(sequence)].context;
    for (int32_t position = from; position < context; ++position) {
      const int32_t block =
          tables_[static_cast<size_t>(sequence * stride_ + position / s_.block_size)];
      for (int32_t head = 0; head < s_.kv_heads; ++head) {
        unsigned char* numbers =
            KvNumbers(kv_, block, KvIndex(kv_, false, head, position % s_.block_size));
        std::memset(numbers, 0xff, static_cast<size_t>(s_.head_dim) * 2);
      }
    }
  }

 private:
  double Cached(int32_t sequence, int32_t position, bool value, int32_t head, int32_t d) {
    const int32_t block =
        tables_[static_cast<size_t>(sequence * stride_ + position / s_.block_size)];
    const int64_t index = KvIndex(kv_, value, head, position % s_.block_size);
    const unsigned char* numbers = KvNumbers(kv_, block, index);
    switch (s_.type) {
      case KvType::kF32:
        return reinterpret_cast<const float*>(numbers)[d];
      case KvType::kBf16:
        return ToFloat(reinterpret_cast<const Bf16*>(numbers)[d]);
      case KvType::kInt8:
        return double{*KvScale(kv_, block, index)} * reinterpret_cast<const int8_t*>(numbers)[d];
      case KvType::kE4m3:
        break;
    }
    return double{ToFloat(reinterpret_cast<const E4m3*>(numbers)[d])} *
           (value ? kv_.value_scale : kv_.key_scale);
  }

  const Shape s_;
  int32_t shared_bytes_ = 227 * 1024;
  int32_t stride_ = 0;
  std::vector<int32_t> tables_, row_start_, context_, positions_, sequence_of_;
  KvCache kv_;
  std::optional<DeviceArray<unsigned char>> cache_;
  std::optional<DeviceArray<int32_t>> d_tables_, d_positions_, d_sequence_of_, d_row_start_,
      d_context_;
  std::optional<DeviceRows> qkv_;
};

std::vector<uint32_t> Names(size_t n) {
  std::vector<uint32_t> names(n);
  std::iota(names.begin(), names.end(), 1);
  return names;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class AttentionTest : public ::testing::TestWithParam<Shape> {};

TEST_P(AttentionTest, AgreesWithTheFormulaWhoeverComputes) {
  const Shape& s = GetParam();
  Step step(s, Names(s.sequences.size()));
  const std::vector<double> expected = step.Expected();
  // One term: queries and weights have 8 bits.
  const double tolerance = s.element == Element::kBf16 || s.terms == 1 ? 1.5e-2 : 4e-6;
  std::vector<float> first;
  for (uint64_t seed = 0; seed < (kInstrumented ? 1 : 3); ++seed) {
    emulator::SetSeed(seed);
    const std::vector<float> planned =
        step.Run(Step::Way::kPlanned, 1 + 3 * static_cast<int>(seed));
    if (seed == 0) {
      ExpectNear(planned, expected, tolerance);
      first = planned;
      EXPECT_TRUE(SameBits(first, step.Run(Step::Way::kWhole))) << "undivided";
      EXPECT_TRUE(SameBits(first, step.Run(Step::Way::kPrefill))) << "all prefilled";
      ExpectNear(step.Run(Step::Way::kPlain), expected, s.element == Element::kF32 ? 4e-6 : 4e-3);
    }
    EXPECT_TRUE(SameBits(first, planned)) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    ::testing::Values(Shape{1, 1, 16, 16, KvType::kBf16, 3, {{1, 1}}},
                      Shape{4, 2, 64, 16, KvType::kBf16, 3, {{700, 1}, {65, 1}, {3, 2}}},
                      Shape{8, 2, 64, 16, KvType::kInt8, 3, {{300, 9}, {64, 1}, {17, 17}}},
                      Shape{6, 1, 80, 8, KvType::kBf16, 1, {{270, 3}, {40, 13}}},
                      Shape{2, 2, 128, 16, KvType::kE4m3, 3, {{129, 70}, {513, 1}}},
                      Shape{4, 1, 128, 16, KvType::kBf16, 1, {{530, 1}, {90, 40}}, Element::kBf16},
                      Shape{5, 1, 96, 1, KvType::kInt8, 1, {{260, 4}, {2, 1}}, Element::kBf16},
                      Shape{33, 1, 32, 24, KvType::kBf16, 3, {{280, 2}}}));

TEST(Attention, PlainTakesWhatTensorCoresDoNot) {
  for (const Shape& s : {Shape{7, 1, 36, 16, KvType::kF32, 3, {{70, 3}, {5, 5}}},
                         Shape{2, 1, 6, 4, KvType::kInt8, 3, {{33, 1}}},
                         Shape{1, 1, 256, 16, KvType::kE4m3, 3, {{40, 2}}}}) {
    Step step(s, Names(s.sequences.size()));
    DeviceRows out(Element::kF32, step.num_rows(), int64_t{s.q_heads} * s.head_dim);
    EXPECT_FALSE(TensorAttentionFits(step.Params(out)));
    EXPECT_EQ(DecodeAttention(step.Params(out), nullptr), kBadArguments);
    EXPECT_EQ(PrefillAttention(step.Params(out), nullptr), kBadArguments);
    ExpectNear(step.Run(Step::Way::kPlain), step.Expected(), 4e-6);
  }
}

// GPUs differ in the shared memory of a block. What fits a multiprocessor is what is launched, and
// where there is little of it, prefill has one stage; no result depends on that.
TEST(Attention, LittleSharedMemoryIsEnough) {
  struct Gpu {
    int32_t shared_bytes;
    int32_t decode_blocks;
    int32_t prefill_blocks;
  };
  const Shape s{4, 1, 128, 16, KvType::kBf16, 1, {{530, 1}, {200, 40}}};
  Step step(s, Names(2));
  std::vector<float> first;
  for (const Gpu& gpu : {Gpu{227 * 1024, 3, 2}, Gpu{163 * 1024, 2, 1}, Gpu{99 * 1024, 1, 1}}) {
    step.SetSharedBytes(gpu.shared_bytes);
    DeviceRows out(Element::kF32, step.num_rows(), int64_t{s.q_heads} * s.head_dim);
    const AttentionParams params = step.Params(out);
    EXPECT_EQ(DecodeBlocks(params), gpu.decode_blocks);
    EXPECT_EQ(PrefillBlocks(params), gpu.prefill_blocks);
    const std::vector<float> planned = step.Run(Step::Way::kPlanned);
    if (first.empty()) first = planned;
    EXPECT_TRUE(SameBits(first, planned)) << gpu.shared_bytes;
    EXPECT_TRUE(SameBits(first, step.Run(Step::Way::kPrefill))) << gpu.shared_bytes;
  }
  // Queries and weights of three terms want more: the kernel without tensor cores does it.
  Shape exact = s;
  exact.terms = 3;
  Step three(exact, Names(2));
  three.SetSharedBytes(99 * 1024);
  DeviceRows out(Element::kF32, three.num_rows(), int64_t{s.q_heads} * s.head_dim);
  EXPECT_FALSE(TensorAttentionFits(three.Params(out)));
}

// More splits than the last block reads at once, and a number that is not a multiple of it.
TEST(Attention, ManySplitsAreJoinedInTheirOrder) {
  for (const int32_t context : {1024, 1025, 1290, 2049}) {
    const Shape s{4, 1, 64, 16, KvType::kBf16, 1, {{context, 1}}};
    Step step(s, Names(1));
    const std::vector<float> planned = step.Run(Step::Way::kPlanned, 7);
    ExpectNear(planned, step.Expected(), 1.5e-2);
    EXPECT_TRUE(SameBits(planned, step.Run(Step::Way::kWhole))) << context;
  }
}

// The rows of a prompt however it is chunked, and whoever shares the step.
TEST(Attention, RowsDependOnTheirSequenceAlone) {
  Shape s{4, 2, 32, 16, KvType::kBf16, 3, {{300, 300}}};
  const std::vector<float> whole = Step(s, {7}).Run(Step::Way::kPlanned);
  const auto width = static_cast<size_t>(s.q_heads * s.head_dim);
  const auto row_of = [&](int32_t position) {
    return std::vector<float>(whole.begin() + static_cast<ptrdiff_t>(position * width),
                              whole.begin() + static_cast<ptrdiff_t>((position + 1) * width));
  };
  for (const auto& [context, rows] : std::vector<std::pair<int32_t, int32_t>>{
           {300, 1}, {300, 45}, {299, 3}, {256, 1}, {257, 17}}) {
    Shape chunk = s;
    chunk.sequences = {{20, 1}, {context, rows}, {600, 1}, {70, 40}};
    const std::vector<float> out = Step(chunk, {3, 7, 9, 4}).Run(Step::Way::kPlanned);
    for (int32_t i = 0; i < rows; ++i) {
      const auto at = out.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(i + 1) * width);
      EXPECT_TRUE(SameBits(row_of(context - rows + i),
                           std::vector<float>(at, at + static_cast<ptrdiff_t>(width))))
          << "row " << i << " of " << rows << " up to " << context;
    }
  }
}

// Also where a whole split, and none before it, is made of them: its maximum says nothing.
TEST(Attention, NaNInLaterSplitsShows) {
  const Shape s{4, 2, 32, 16, KvType::kBf16, 3, {{600, 1}, {300, 60}}};
  Step step(s, Names(2));
  step.SpoilKeys(0, 512);
  step.SpoilKeys(1, 256);
  for (const auto way :
       {Step::Way::kPlanned, Step::Way::kWhole, Step::Way::kPrefill, Step::Way::kPlain}) {
    const std::vector<float> out = step.Run(way);
    const auto width = static_cast<size_t>(s.q_heads * s.head_dim);
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t row = i / width;
      const bool sees = row == 0 || row > 256 - 240;
      ASSERT_EQ(std::isnan(out[i]), sees) << "way " << static_cast<int>(way) << " row " << row;
    }
  }
}

TEST(Attention, WithoutRoomForPartialRowsNothingIsDivided) {
  const Shape s{4, 2, 32, 16, KvType::kBf16, 1, {{700, 1}, {520, 1}, {900, 1}}};
  Step step(s, Names(3));
  const std::vector<float> all = step.Run(Step::Way::kPlanned);
  for (const int32_t room : {0, 6, 11, 13}) {
    EXPECT_TRUE(SameBits(all, step.Run(Step::Way::kPlanned, 2, room))) << room;
  }
}

TEST(Attention, ANaNStaysInItsRow) {
  const Shape s{2, 1, 32, 16, KvType::kBf16, 3, {{40, 1}, {50, 1}}};
  Step step(s, Names(2));
  static_cast<float*>(step.qkv().view().data)[3] = NAN;
  const std::vector<float> out = step.Run(Step::Way::kPlanned);
  EXPECT_TRUE(std::isnan(out[0]));
  for (size_t i = 32; i < out.size(); ++i) EXPECT_FALSE(std::isnan(out[i]));
}

}  // namespace
}  // namespace inferd::cuda::testing
