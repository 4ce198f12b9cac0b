#include "inferd/text/stop_matcher.h"

#include <random>

#include "gtest/gtest.h"

namespace inferd {
namespace {

struct Outcome {
  std::string text;
  std::optional<size_t> matched;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// The match that ends first; of those that end there, the one that starts first;
// of equal ones the first in the list.
Outcome Naive(const std::vector<std::string>& stops, bool include, std::string_view text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> best;
    for (size_t i = 0; i < stops.size(); ++i) {
      if (!stops[i].empty() && text.substr(0, end).ends_with(stops[i]) &&
          (!best || stops[i].size() > stops[*best].size())) {
        best = i;
      }
    }
    if (best) {
      const size_t kept = include ? end : end - stops[*best].size();
      return {std::string(text.substr(0, kept)), best};
    }
  }
  return {std::string(text), std::nullopt};
}

Outcome InPieces(const std::vector<std::string>& stops, bool include, std::string_view text,
                 std::mt19937_64& random) {
  StopMatcher matcher(stops, include);
  Outcome outcome;
  while (!text.empty()) {
    const size_t length = random() % (text.size() + 1);
    StopMatcher::Result result = matcher.Push(text.substr(0, length));
    text.remove_prefix(length);
    outcome.text += result.text;
    if (result.matched) {
      outcome.matched = result.matched;
      return outcome;
    }
  }
  outcome.text += matcher.Flush();
  return outcome;
}

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"STOP"}, /*include_in_output=*/false);
  EXPECT_EQ(matcher.Push("a ST").text, "a ");
  EXPECT_EQ(matcher.Push("UB").text, "STUB");
  EXPECT_EQ(matcher.Push("STO").text, "");
  const StopMatcher::Result result = matcher.Push("P and more");
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.matched, 0U);
}

TEST(StopMatcherTest, FlushGivesWhatWasHeld) {
  StopMatcher matcher({"\n\nUser:"}, /*include_in_output=*/false);
  EXPECT_EQ(matcher.Push("done\n\nUs").text, "done");
  EXPECT_EQ(matcher.Flush(), "\n\nUs");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, TheStopIsKeptOnDemand) {
  StopMatcher matcher({"END"}, /*include_in_output=*/true);
  EXPECT_EQ(matcher.Push("xE").text, "x");
  EXPECT_EQ(matcher.Push("NDy").text, "END");
}

TEST(StopMatcherTest, WithoutStopsEverythingPasses) {
  StopMatcher matcher({}, /*include_in_output=*/false);
  EXPECT_EQ(matcher.Push("anything").text, "anything");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, TheFirstEndWinsThenTheFirstStart) {
  std::mt19937_64 random(1);
  const std::vector<std::string> stops = {"bcd", "abcde", "cd"};
  EXPECT_EQ(InPieces(stops, false, "xabcdey", random), (Outcome{"xa", 0}));
}

TEST(StopMatcherTest, AgreesWithANaiveSearch) {
  std::mt19937_64 random(2);
  size_t matches = 0;
  for (int round = 0; round < 20000; ++round) {
    const uint64_t letters = 2 + random() % 3;
    const auto word = [&](size_t length) {
      std::string text;
      while (text.size() < length) text += static_cast<char>('a' + random() % letters);
      return text;
    };
    std::vector<std::string> stops;
    for (uint64_t n = random() % 5; n > 0; --n) stops.push_back(word(1 + random() % 7));
    const std::string text = word(random() % 40);
    const bool include = random() % 2 == 0;
    const Outcome expected = Naive(stops, include, text);
    ASSERT_EQ(InPieces(stops, include, text, random), expected) << text;
    matches += expected.matched.has_value();
  }
  EXPECT_GT(matches, 1000U);
}

TEST(StopMatcherTest, IsLinearInTheText) {
  // A naive matcher would compare 2000 bytes at each of a million places.
  StopMatcher matcher({std::string(2000, 'a') + "b"}, /*include_in_output=*/false);
  size_t out = 0;
  for (int i = 0; i < 1000; ++i) out += matcher.Push(std::string(1000, 'a')).text.size();
  EXPECT_EQ(out + matcher.Flush().size(), 1'000'000U);
}

}  // namespace
}  // namespace inferd
