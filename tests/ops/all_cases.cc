#include "ops/cases.h"

namespace inferd::testing {
namespace {

void AddIntLinearCases(std::vector<OpCase>* cases) {
  using WF = WeightFormat;
  for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 25, 33, 64}) {
    cases->push_back(LinearCase({rows, 33, 70, WF::kInt8, 2, true}));
    cases->push_back(LinearCase({rows, 96, 70, WF::kInt4, 2, true, 32}));
  }
  for (const int64_t rows : {1, 3, 12, 29}) {
    cases->push_back(LinearCase({rows, 1, 1, WF::kInt8}));
    cases->push_back(LinearCase({rows, 6, 17, WF::kInt8, 1, true}));
    cases->push_back(LinearCase({rows, 64, 128, WF::kInt8, 3}));
    cases->push_back(LinearCase({rows, 288, 864, WF::kInt8, 3, true}));
    cases->push_back(LinearCase({rows, 1031, 513, WF::kInt8, 2}));
    for (const bool half : {false, true}) {
      for (const bool zeros : {false, true}) {
        cases->push_back(LinearCase({rows, 32, 1, WF::kInt4, 1, false, 32, half, zeros}));
        cases->push_back(LinearCase({rows, 288, 208, WF::kInt4, 3, true, 32, half, zeros}));
        cases->push_back(LinearCase({rows, 256, 129, WF::kInt4, 1, false, 64, half, zeros}));
        cases->push_back(LinearCase({rows, 512, 70, WF::kInt4, 1, true, 128, half, zeros}));
        cases->push_back(LinearCase({rows, 1120, 50, WF::kInt4, 2, false, 1120, half, zeros}));
      }
    }
  }
  cases->push_back(LinearCase({130, 1100, 300, WF::kInt8, 1, true}));
  cases->push_back(LinearCase({130, 1100, 304, WF::kInt8, 1, true}));  // outputs in sixteens
  cases->push_back(LinearCase({130, 1152, 300, WF::kInt4, 1, true, 128}));
  cases->push_back(LinearCase({70, 288, 208, WF::kInt4, 3, true, 32}));
  cases->push_back(LinearCase({67, 1120, 50, WF::kInt4, 1, false, 1120, false}));
}

void AddFp8LinearCases(std::vector<OpCase>* cases) {
  for (const WeightFormat format : {WeightFormat::kFp8, WeightFormat::kFp8Weights}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 25, 33, 64, 100}) {
      cases->push_back(LinearCase({rows, 33, 70, format, 2, true}));
      cases->push_back(LinearCase({rows, 96, 140, format, 2, true, 32}));
    }
    for (const int64_t rows : {1, 3, 12, 29}) {
      cases->push_back(LinearCase({rows, 1, 1, format}));
      cases->push_back(LinearCase({rows, 288, 208, format, 3, true, 96}));
      cases->push_back(LinearCase({rows, 384, 129, format, 1, false, 192}));
      cases->push_back(LinearCase({rows, 512, 300, format, 2, true, 128}));
      cases->push_back(LinearCase({rows, 1031, 513, format, 2}));
    }
    cases->push_back(LinearCase({230, 1152, 300, format, 1, true, 128}));
    cases->push_back(LinearCase({100, 161, 144, format, 1, true}));
  }
}

}  // namespace

std::vector<OpCase> AllCases(int32_t block_size) {
  std::vector<OpCase> cases;
  using WF = WeightFormat;
  for (const WF format : {WF::kF32, WF::kF16, WF::kBF16}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 25, 100}) {
      cases.push_back(LinearCase({rows, 33, 70, format, 2, true}));
    }
    for (const int64_t rows : {1, 2, 3, 12, 29}) {
      cases.push_back(LinearCase({rows, 1, 1, format}));
      cases.push_back(LinearCase({rows, 17, 33, format, 1, true}));
      cases.push_back(LinearCase({rows, 64, 128, format, 3}));
      cases.push_back(LinearCase({rows, 288, 864, format, 3, true}));
      cases.push_back(LinearCase({rows, 1030, 513, format, 2}));
    }
    cases.push_back(LinearCase({130, 1100, 300, format, 1, true}));
  }
  AddIntLinearCases(&cases);
  AddFp8LinearCases(&cases);
  for (const int64_t rows : {1, 3, 40}) {
    for (const int64_t n : {1, 7, 16, 63, 100, 288, 2049}) {
      cases.push_back(RmsNormCase(rows, n, /*in_place=*/false));
      cases.push_back(RmsNormCase(rows, n, /*in_place=*/true));
      cases.push_back(AddRmsNormCase(rows, n));
      cases.push_back(AddCase(rows, n));
      cases.push_back(SiluMulCase(rows, n));
    }
  }
  for (const int32_t head_dim : {5, 16, 64, 80}) {
    cases.push_back(HeadRmsNormCase(7, 6, 1, 4, head_dim));
    cases.push_back(HeadRmsNormCase(1, 3, 0, 3, head_dim));
  }
  for (const int32_t head_dim : {2, 6, 16, 32, 64, 80, 128}) {
    cases.push_back(RopeCase(9, 3, head_dim, head_dim));
  }
  cases.push_back(RopeCase(4, 5, 64, 32));
  cases.push_back(RopeCase(4, 5, 40, 10));
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const bool from_head : {false, true}) {
      cases.push_back(EmbedCase(5, 11, 1, dtype, from_head));
      cases.push_back(EmbedCase(5, 11, 17, dtype, from_head));
      cases.push_back(EmbedCase(70, 100, 288, dtype, from_head));
      cases.push_back(EmbedCase(70, 97, 1030, dtype, from_head));
    }
  }
  cases.push_back(GatherCase(1, 9));
  cases.push_back(GatherCase(10, 288));
  cases.push_back(CopyColumnsCase(1, 9, 9, 9));
  cases.push_back(CopyColumnsCase(7, 96, 33, 17));

  const std::vector<std::vector<SequenceShape>> steps = {
      {{1, 1}},
      {{7, 7}},
      {{65, 1}},
      {{200, 1}, {3, 1}, {64, 1}},
      {{40, 13}, {16, 16}, {130, 1}, {17, 2}},
      {{700, 1}},
      {{1030, 9}},
      {{1025, 1}, {513, 1}, {512, 1}},
  };
  struct Heads {
    int32_t q;
    int32_t kv;
    int32_t dim;
  };
  const std::vector<Heads> heads = {{1, 1, 8},  {4, 2, 16}, {6, 6, 48}, {8, 2, 64},
                                    {7, 1, 36}, {5, 1, 80}, {4, 4, 128}};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8, DType::kF8E4M3}) {
    for (const Heads& h : heads) {
      for (const auto& step : steps) {
        cases.push_back(AttentionCase({h.q, h.kv, h.dim, block_size, dtype, step}));
      }
    }
    // More query heads than a task takes; an odd split of the group.
    cases.push_back(AttentionCase({33, 1, 32, block_size, dtype, {{100, 3}, {600, 1}}}));
    for (const bool fused : {false, true}) {
      cases.push_back(
          RopeAppendCase({6, 3, 32, block_size, dtype, {{40, 13}, {5, 5}, {90, 1}}}, 32, fused));
      cases.push_back(RopeAppendCase({2, 1, 48, block_size, dtype, {{33, 33}}}, 24, fused));
    }
  }
  return cases;
}

}  // namespace inferd::testing
