// Checkpoints of every family, split over hosts that are network namespaces, with cables
// that delay, reorder and lose: logits and texts are those of one rank. Needs root, iproute2 and
// /dev/net/tun; skipped where they are missing. This program is also the rank.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>

#include "comm/test_network.h"
#include "process_group.h"
#include "rank_group.h"

namespace inferd::testing {
namespace {

constexpr LinkFaults kFaults = {.delay_us = 1000, .jitter_us = 1000, .loss = 5000};

// Ranks are shared out evenly: three stages of one rank need three hosts.
constexpr int kHosts = 3;
int HostsOf(const ParallelShape& shape) { return shape.ranks() == 3 ? kHosts : 2; }

using Param = std::tuple<std::string, ParallelShape>;

class NetworkGoldenTest : public ::testing::TestWithParam<Param> {
 protected:
  static void SetUpTestSuite() {
    if (!TestNetwork::HasTunnels()) return;
    network_ = TestNetwork::Make(kHosts);
    if (network_ == nullptr) return;
    ASSERT_TRUE(network_->Plug(kFaults));
  }
  // What the tests of the suite say is worth something only if the cables did lose segments.
  static void TearDownTestSuite() {
    if (network_ == nullptr) return;
    int64_t again = 0;
    for (int host = 0; host < kHosts; ++host) again += network_->Retransmitted(host);
    std::printf("    %lld segments were sent again\n", static_cast<long long>(again));
    EXPECT_TRUE(again > 0 || tests_ < 10);
    network_.reset();
  }
  void SetUp() override {
    if (network_ == nullptr) GTEST_SKIP() << "needs root, ip, network namespaces and /dev/net/tun";
  }

  static int tests_;
  static std::unique_ptr<TestNetwork> network_;
};

int NetworkGoldenTest::tests_ = 0;
std::unique_ptr<TestNetwork> NetworkGoldenTest::network_;

TEST_P(NetworkGoldenTest, LogitsAndTextsAreThoseOfOneRank) {
  const auto& [family, shape] = GetParam();
  double seconds = 0;
  ExpectAnswersOfOneRank(family, shape, HostsOf(shape), network_.get(), &seconds);
  // No token without crossing a cable.
  EXPECT_GE(seconds, kAnswerTokens * 1e-6 * static_cast<double>(kFaults.delay_us));
  ++tests_;
}

std::string NameOf(const ::testing::TestParamInfo<Param>& p) {
  return std::get<0>(p.param) + "_" + ShapeName(std::get<1>(p.param));
}

INSTANTIATE_TEST_SUITE_P(Families, NetworkGoldenTest,
                         ::testing::Combine(::testing::ValuesIn(GoldenFamilies()),
                                            ::testing::ValuesIn(HostShapes())),
                         NameOf);

}  // namespace
}  // namespace inferd::testing

int main(int argc, char** argv) { return inferd::testing::ProcessGroup::Main(argc, argv); }
