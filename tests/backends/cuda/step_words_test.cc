// The device has what the host put, and was sent no more than that.
#include "backends/cuda/step_words.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "backends/cuda/fake_cuda.h"
#include "cuda/code.h"

namespace inferd::testing {
namespace {

constexpr int64_t kWords = int64_t{1} << 20;
constexpr int64_t kBoundary = 5000;
constexpr int32_t kMany = StepWords::kMaxDeltas + 1;

class StepWordsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ResetFakeCuda();
    device_ = Device::Open(0).value();
    ASSERT_EQ(cuda::LoadCode(), 0);
    words_ = std::make_unique<StepWords>(*device_, kWords, kBoundary);
    ASSERT_TRUE(device_->ok());
  }
  std::vector<int32_t> Read() {
    std::vector<int32_t> words(static_cast<size_t>(kWords));
    EXPECT_TRUE(device_->CopyOut(words.data(), words_->on_device(), words.size() * 4).ok());
    return words;
  }
  std::unique_ptr<Device> device_;
  std::unique_ptr<StepWords> words_;
};

TEST_F(StepWordsTest, TheDeviceHasWhatWasPut) {
  std::mt19937 random(7);
  std::vector<int32_t> expected(static_cast<size_t>(kWords));
  EXPECT_EQ(Read(), expected);
  for (int step = 0; step < 60; ++step) {
    for (int64_t pieces = random() % 6; pieces > 0; --pieces) {
      const bool second = random() % 2 != 0;
      const int64_t begin = second ? kBoundary : 0;
      const int64_t end = second ? kWords : kBoundary;
      const int64_t at = begin + random() % (end - begin);
      const int64_t count = std::min<int64_t>(end - at, random() % (random() % 4 == 0 ? 4000 : 40));
      std::vector<int32_t> values(static_cast<size_t>(count));
      for (int32_t& value : values) value = static_cast<int32_t>(random() % 3);
      words_->Put(at, values);
      std::copy(values.begin(), values.end(), expected.begin() + at);
    }
    words_->Send();
    // Not after each: steps may follow one another before the device gets to them.
    if (random() % 3 == 0) {
      ASSERT_EQ(Read(), expected) << "step " << step;
    }
  }
  EXPECT_EQ(Read(), expected);
  EXPECT_GT(words_->sent_as_deltas(), 5);
  EXPECT_GT(words_->sent_whole(), 5);
}

TEST_F(StepWordsTest, NothingNewIsNothingSent) {
  const std::vector<int32_t> values(3000, 4);
  words_->Put(kBoundary + 100, values);
  words_->Send();
  const int64_t sent = words_->sent_bytes();
  EXPECT_EQ(sent, 3000 * 4);  // a range, and not one word around it
  words_->Put(kBoundary + 100, values);
  words_->Send();
  EXPECT_EQ(words_->sent_bytes(), sent);
  EXPECT_EQ(words_->sent_as_deltas(), 1);
}

// A prompt changes every word of the rows, and few of the tables.
TEST_F(StepWordsTest, ASectionWithManyChangesDoesNotBringTheOther) {
  words_->Put(0, std::vector<int32_t>(static_cast<size_t>(kBoundary), 1));
  words_->Put(kBoundary, 2);
  words_->Put(kWords - 1, 3);
  words_->Send();
  EXPECT_EQ(words_->sent_bytes(), kBoundary * 4 + 2 * 8);
  words_->Put(3, 9);
  words_->Put(kBoundary, std::vector<int32_t>(kMany, 5));
  words_->Send();
  EXPECT_EQ(words_->sent_bytes(), kBoundary * 4 + 2 * 8 + 8 + kMany * 4);
  const std::vector<int32_t> words = Read();
  EXPECT_EQ(words[3], 9);
  EXPECT_EQ(words[kBoundary + kMany - 1], 5);
  EXPECT_EQ(words[kWords - 1], 3);
}

TEST_F(StepWordsTest, AsManyAsThereIsRoomForGoAsChanges) {
  words_->Put(0, std::vector<int32_t>(StepWords::kMaxDeltas, 1));
  words_->Put(kBoundary, std::vector<int32_t>(StepWords::kMaxDeltas, 2));
  words_->Send();
  EXPECT_EQ(words_->sent_as_deltas(), 1);
  const std::vector<int32_t> words = Read();
  EXPECT_EQ(words[StepWords::kMaxDeltas - 1], 1);
  EXPECT_EQ(words[kBoundary + StepWords::kMaxDeltas - 1], 2);
  words_->Put(0, std::vector<int32_t>(kMany, 3));
  words_->Send();
  EXPECT_EQ(words_->sent_whole(), 1);
}

}  // namespace
}  // namespace inferd::testing
