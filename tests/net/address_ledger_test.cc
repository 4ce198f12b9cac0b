#include "net/address_ledger.h"

#include <gtest/gtest.h>

#include <random>

namespace inferd::net {
namespace {

using Admission = AddressLedger::Admission;

AddressKey Key(uint8_t number) { return {.bytes = {10, 0, 0, number}, .family = 4}; }

TEST(AddressLedgerTest, NewConnectionsAreCountedByTheSecond) {
  AddressLedger ledger({.max_new_connections = 4});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ledger.Admit(Key(1), 0), Admission::kAdmitted);
  EXPECT_EQ(ledger.Admit(Key(1), 0), Admission::kTooMany);
  EXPECT_EQ(ledger.Admit(Key(2), 0), Admission::kAdmitted);
  // One place in a quarter of a second, and what was refused took none.
  EXPECT_EQ(ledger.Admit(Key(1), 249), Admission::kTooMany);
  EXPECT_EQ(ledger.Admit(Key(1), 250), Admission::kAdmitted);
  EXPECT_EQ(ledger.Admit(Key(1), 251), Admission::kTooMany);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ledger.Admit(Key(1), 5'000), Admission::kAdmitted);
  EXPECT_EQ(ledger.Admit(Key(1), 5'000), Admission::kTooMany);
}

TEST(AddressLedgerTest, MorePointsThanAllowedShutAnAddressOutForAWhile) {
  AddressLedger ledger({.max_points = 10, .window_ms = 1'000, .penalty_ms = 500});
  EXPECT_FALSE(ledger.Charge(Key(1), 10, 0));
  EXPECT_EQ(ledger.Admit(Key(1), 0), Admission::kAdmitted);
  EXPECT_TRUE(ledger.Charge(Key(1), 1, 0));
  EXPECT_EQ(ledger.Admit(Key(1), 0), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(1), 499), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(2), 499), Admission::kAdmitted);
  EXPECT_EQ(ledger.Admit(Key(1), 500), Admission::kAdmitted);
  // It begins anew.
  EXPECT_FALSE(ledger.Charge(Key(1), 10, 500));
  EXPECT_TRUE(ledger.Charge(Key(1), 10, 500));
}

TEST(AddressLedgerTest, OffencesOfOpenConnectionsProlongThePenaltyAndAreToldOnce) {
  AddressLedger ledger({.max_points = 10, .window_ms = 1'000, .penalty_ms = 500});
  EXPECT_TRUE(ledger.Charge(Key(1), 11, 0));
  EXPECT_FALSE(ledger.Charge(Key(1), 11, 400));
  EXPECT_EQ(ledger.Admit(Key(1), 899), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(1), 900), Admission::kAdmitted);
}

TEST(AddressLedgerTest, PointsDrainAway) {
  AddressLedger ledger({.max_points = 10, .window_ms = 1'000, .penalty_ms = 500});
  for (int64_t now_ms = 0; now_ms < 100'000; now_ms += 500) {
    EXPECT_FALSE(ledger.Charge(Key(1), 5, now_ms)) << now_ms;
  }
}

TEST(AddressLedgerTest, OneLineAWindowAndAddress) {
  AddressLedger ledger({.window_ms = 1'000});
  EXPECT_TRUE(ledger.MayTell(Key(1), 0));
  EXPECT_FALSE(ledger.MayTell(Key(1), 999));
  EXPECT_TRUE(ledger.MayTell(Key(2), 999));
  EXPECT_TRUE(ledger.MayTell(Key(1), 1'000));
}

TEST(AddressLedgerTest, NobodyIsNeverRefused) {
  AddressLedger ledger({.max_new_connections = 1, .max_points = 1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(ledger.Charge({}, 100, 0));
    EXPECT_EQ(ledger.Admit({}, 0), Admission::kAdmitted);
    EXPECT_TRUE(ledger.MayTell({}, 0));
  }
  EXPECT_EQ(ledger.size(), 0);
}

TEST(AddressLedgerTest, ForgetsWhoWasNotHeardOfForLongest) {
  AddressLedger ledger({.max_points = 10, .penalty_ms = 500, .max_addresses = 3});
  for (uint8_t number = 1; number <= 3; ++number) EXPECT_TRUE(ledger.Charge(Key(number), 11, 0));
  EXPECT_EQ(ledger.Admit(Key(1), 1), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(4), 1), Admission::kAdmitted);
  EXPECT_EQ(ledger.size(), 3);
  EXPECT_EQ(ledger.Admit(Key(1), 1), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(3), 1), Admission::kShutOut);
  EXPECT_EQ(ledger.Admit(Key(2), 1), Admission::kAdmitted);
}

TEST(AddressLedgerTest, HoldsTogetherWhateverHappens) {
  AddressLedger ledger({.max_new_connections = 3, .max_points = 5, .max_addresses = 7});
  std::mt19937 random(1);
  int64_t now_ms = 0;
  for (int i = 0; i < 5'000; ++i) {
    const AddressKey key = Key(static_cast<uint8_t>(random() % 20));
    now_ms += random() % 50;
    switch (random() % 3) {
      case 0:
        ledger.Admit(key, now_ms);
        break;
      case 1:
        ledger.Charge(key, random() % 4, now_ms);
        break;
      default:
        ledger.MayTell(key, now_ms);
    }
    ASSERT_TRUE(ledger.CheckIntegrity().ok()) << ledger.CheckIntegrity().message();
  }
  EXPECT_EQ(ledger.size(), 7);
}

}  // namespace
}  // namespace inferd::net
