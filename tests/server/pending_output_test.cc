#include "server/pending_output.h"

#include "gtest/gtest.h"

namespace inferd {
namespace {

ChoiceDelta Text(int32_t choice, const std::string& text, int32_t tokens = 1) {
  ChoiceDelta delta;
  delta.choice = choice;
  delta.text = text;
  delta.num_tokens = tokens;
  return delta;
}

ChoiceDelta Ending(int32_t choice, const std::string& text = "") {
  ChoiceDelta delta = Text(choice, text);
  delta.end = ChoiceEnd::kStop;
  return delta;
}

TEST(PendingOutputTest, MergesPerChoiceAndMarksTheFirst) {
  PendingOutput pending;
  pending.Add(Text(1, "a"));
  pending.Add(Text(0, "x"));
  pending.Add(Text(1, "b"));
  auto items = pending.TakeNext();
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].delta.choice, 1);
  EXPECT_EQ(items[0].delta.text, "ab");
  EXPECT_EQ(items[0].delta.num_tokens, 2);
  EXPECT_TRUE(items[0].first);
  EXPECT_EQ(pending.bytes(), 0U);
  EXPECT_EQ(pending.tokens(), 0);
  pending.Add(Text(1, "c"));
  items = pending.TakeNext();
  ASSERT_EQ(items.size(), 1U);
  EXPECT_FALSE(items[0].first);
  EXPECT_TRUE(pending.TakeNext().empty());
}

TEST(PendingOutputTest, EndsFollowTheirContentWithEmptyText) {
  PendingOutput pending;
  pending.Add(Ending(0, "last"));
  auto items = pending.TakeNext();
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].delta.text, "last");
  EXPECT_EQ(items[0].delta.end, ChoiceEnd::kNone);
  items = pending.TakeNext();
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].delta.text, "");
  EXPECT_EQ(items[0].delta.end, ChoiceEnd::kStop);
  EXPECT_FALSE(items[0].first);
}

TEST(PendingOutputTest, AnEmptyAnswerOpensBeforeItEnds) {
  PendingOutput pending;
  pending.Add(Ending(0));
  auto items = pending.TakeNext();
  ASSERT_EQ(items.size(), 1U);
  EXPECT_TRUE(items[0].first);
  EXPECT_EQ(items[0].delta.end, ChoiceEnd::kNone);
  items = pending.TakeNext();
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].delta.num_tokens, 1);
}

TEST(PendingOutputTest, CountsBytesOfTextAndPieces) {
  PendingOutput pending;
  pending.Add(Text(0, std::string(1000, 'x')));
  EXPECT_GE(pending.bytes(), 1000U);
  ChoiceDelta delta = Text(0, "");
  delta.pieces.resize(1);
  delta.pieces[0].top.resize(20);
  pending.Add(std::move(delta));
  EXPECT_GE(pending.bytes(), 1600U);
  pending.Clear();
  EXPECT_EQ(pending.bytes(), 0U);
  EXPECT_TRUE(pending.TakeNext().empty());
}

}  // namespace
}  // namespace inferd
