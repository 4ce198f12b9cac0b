#include "cuda/attention_work.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "kernels/cuda/support.h"

namespace inferd::cuda::testing {
namespace {

struct Lists {
  AttentionCounts counts;
  std::vector<DecodeItem> decode;
  std::vector<PrefillItem> prefill;
};

struct Room {
  int32_t decode = 5000;
  int32_t prefill = 500;
  int32_t partial_rows = 100000;
};

Lists Build(const std::vector<int32_t>& rows, const std::vector<int32_t>& context, int32_t group,
            int32_t num_blocks, Room room, bool on_device) {
  std::vector<int32_t> starts = {0};
  for (const int32_t r : rows) starts.push_back(starts.back() + r);
  DeviceArray<int32_t> row_start(starts);
  DeviceArray<int32_t> context_len(context);
  DeviceArray<AttentionCounts> counts(1);
  DeviceArray<DecodeItem> decode(static_cast<size_t>(room.decode));
  DeviceArray<PrefillItem> prefill(static_cast<size_t>(room.prefill));
  const AttentionWorkParams p{row_start.data(),
                              context_len.data(),
                              static_cast<int32_t>(context.size()),
                              group,
                              2,
                              num_blocks,
                              room.decode,
                              room.prefill,
                              room.partial_rows,
                              counts.data(),
                              decode.data(),
                              prefill.data()};
  if (on_device) {
    EXPECT_EQ(BuildAttentionWork(p, nullptr), 0) << emulator::LastError();
  } else {
    BuildAttentionWorkOnHost(p);
  }
  Lists lists;
  lists.counts = counts[0];
  for (int32_t i = 0; i < counts[0].num_decode; ++i) {
    lists.decode.push_back(decode[static_cast<size_t>(i)]);
  }
  for (int32_t i = 0; i < counts[0].num_prefill; ++i) {
    lists.prefill.push_back(prefill[static_cast<size_t>(i)]);
  }
  return lists;
}

template <class T>
bool Same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

TEST(AttentionWork, EveryTileAndSplitOnceAndNoPartialRowTwice) {
  std::mt19937 random(3);
  for (int round = 0; round < 12; ++round) {
    const int32_t count = round == 0 ? 0 : static_cast<int32_t>(random() % 600);
    const auto group = static_cast<int32_t>(1 + random() % 9);
    const auto num_blocks = static_cast<int32_t>(1 + random() % 400);
    Room room;
    if (round % 3 == 2) room.partial_rows = static_cast<int32_t>(random() % 500);
    std::vector<int32_t> rows;
    std::vector<int32_t> context;
    for (int32_t i = 0; i < count; ++i) {
      const bool padding = random() % 20 == 0;
      const bool prompt = random() % 30 == 0;
      rows.push_back(padding ? static_cast<int32_t>(random() % 2)
                             : static_cast<int32_t>(1 + random() % (prompt ? 100 : 4)));
      context.push_back(padding ? 0 : rows.back() + static_cast<int32_t>(random() % 2000));
    }
    const Lists host = Build(rows, context, group, num_blocks, room, false);
    for (uint64_t seed = 0; seed < 2; ++seed) {
      emulator::SetSeed(seed);
      const Lists device = Build(rows, context, group, num_blocks, room, true);
      EXPECT_TRUE(Same(host.decode, device.decode));
      EXPECT_TRUE(Same(host.prefill, device.prefill));
    }
    std::map<std::pair<int32_t, int32_t>, std::multiset<int32_t>> splits;
    std::set<int32_t> partial_rows;
    std::map<int32_t, std::pair<int32_t, int32_t>> groups;
    for (const DecodeItem& item : host.decode) {
      if (item.num_splits == 0) continue;
      const auto tile = std::make_pair(item.sequence, item.tile);
      splits[tile].insert(item.split);
      if (item.split < 0) continue;
      const int32_t all = rows[static_cast<size_t>(item.sequence)] * group;
      const int32_t in_tile = std::min(kDecodeTileRows, all - item.tile * kDecodeTileRows);
      for (int32_t r = 0; r < in_tile; ++r) {
        const int32_t row = item.partial_row + item.split * in_tile + r;
        EXPECT_LT(row, room.partial_rows);
        EXPECT_TRUE(partial_rows.insert(row).second);
      }
      EXPECT_EQ(groups.try_emplace(item.group, tile).first->second, tile);
    }
    std::set<std::pair<int32_t, int32_t>> prefilled;
    for (const PrefillItem& item : host.prefill) {
      EXPECT_TRUE(prefilled.insert({item.sequence, item.tile}).second);
    }
    size_t decode_tiles = 0;
    size_t prefill_tiles = 0;
    for (int32_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      if (context[at] == 0 || rows[at] == 0) continue;
      const int32_t all = rows[at] * group;
      if (all > kMaxDecodeRows) {
        for (int32_t tile = 0; tile * kPrefillTileRows < all; ++tile, ++prefill_tiles) {
          EXPECT_TRUE(prefilled.contains({i, tile}));
        }
        continue;
      }
      for (int32_t tile = 0; tile * kDecodeTileRows < all; ++tile, ++decode_tiles) {
        const std::multiset<int32_t>& found = splits[{i, tile}];
        std::multiset<int32_t> expected;
        for (int32_t split = 0; split * kSplitKeys < context[at]; ++split) expected.insert(split);
        EXPECT_TRUE(found == expected || found == std::multiset<int32_t>{-1});
      }
    }
    EXPECT_EQ(splits.size(), decode_tiles);
    EXPECT_EQ(prefilled.size(), prefill_tiles);
  }
}

TEST(AttentionWork, LongSequencesAreDividedAndShortOnesAreNot) {
  // Two kv heads: 2 * (1 + 1 + 40) splits for 8 blocks, a quota of ten.
  const Lists lists = Build({1, 1, 1}, {200, 256, 10240}, 4, 8, {}, true);
  ASSERT_EQ(lists.counts.num_decode, 42);
  EXPECT_EQ(lists.decode[0].split, -1);
  EXPECT_EQ(lists.decode[1].split, -1);
  EXPECT_EQ(lists.decode[2].split, 0);
  EXPECT_EQ(lists.decode[41].split, 39);
  // Enough of them to fill the device: none is divided.
  const Lists many =
      Build(std::vector<int32_t>(64, 1), std::vector<int32_t>(64, 1024), 4, 16, {}, true);
  EXPECT_EQ(many.counts.num_decode, 64);
}

TEST(AttentionWork, ItemsPastTheRoomAreLeftOut) {
  const Lists lists =
      Build({1, 50, 1}, {5000, 50, 5000}, 4, 1000, {.decode = 25, .prefill = 2}, true);
  EXPECT_EQ(lists.counts.num_decode, 25);
  EXPECT_EQ(lists.counts.num_prefill, 2);
}

TEST(AttentionWork, TheStatedRoomIsEnough) {
  EXPECT_EQ(MaxDecodeItems(3, 256), 6);
  EXPECT_EQ(MaxDecodeItems(3, 257), 12);
  EXPECT_GE(MaxPrefillItems(4, 100, 4), 100 * 4 / 64 + 3);
}

}  // namespace
}  // namespace inferd::cuda::testing
