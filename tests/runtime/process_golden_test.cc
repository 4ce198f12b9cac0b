// Checkpoints of every family, split over ranks that are processes: of one host, over shared
// memory, and of several, over TCP. Logits and texts are those of one rank. This program is also
// the rank.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "process_group.h"
#include "rank_group.h"

namespace inferd::testing {
namespace {

using Param = std::tuple<std::string, ParallelShape>;

class ProcessGoldenTest : public ::testing::TestWithParam<Param> {};
class HostsGoldenTest : public ::testing::TestWithParam<Param> {};

TEST_P(ProcessGoldenTest, LogitsAndTextsAreThoseOfOneRank) {
  const auto& [family, shape] = GetParam();
  ExpectAnswersOfOneRank(family, shape, /*hosts=*/1, nullptr, nullptr);
}

TEST_P(HostsGoldenTest, LogitsAndTextsAreThoseOfOneRank) {
  const auto& [family, shape] = GetParam();
  // Ranks are shared out evenly. (With tp 2 and pp 3 a stage is on both hosts.)
  const int hosts = shape.ranks() % 2 == 0 ? 2 : shape.ranks();
  ExpectAnswersOfOneRank(family, shape, hosts, nullptr, nullptr);
}

std::string NameOf(const ::testing::TestParamInfo<Param>& p) {
  return std::get<0>(p.param) + "_" + ShapeName(std::get<1>(p.param));
}

INSTANTIATE_TEST_SUITE_P(Families, ProcessGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::ValuesIn(GoldenShapes())),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Families, HostsGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::ValuesIn(HostShapes())),
                         NameOf);

}  // namespace
}  // namespace inferd::testing

int main(int argc, char** argv) { return inferd::testing::ProcessGroup::Main(argc, argv); }
