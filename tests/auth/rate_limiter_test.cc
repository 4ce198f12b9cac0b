#include "inferd/auth/rate_limiter.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace inferd {
namespace {

constexpr int64_t kSecondUs = 1'000'000;

ApiKey Key(const std::string& tenant, int64_t rpm, int64_t tpm = 0, int32_t concurrent = 0) {
  ApiKey key;
  key.id = tenant + "-key";
  key.tenant = tenant;
  key.requests_per_minute = rpm;
  key.tokens_per_minute = tpm;
  key.max_concurrent = concurrent;
  return key;
}

int64_t RetryMs(const Status& status) {
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  if (status.detail() == nullptr) return -1;
  EXPECT_EQ(status.detail()->reason, "RATE_LIMITED");
  return status.detail()->retry_after_ms;
}

TEST(RateLimiterTest, RequestsAtTheLimitAndOnePast) {
  ManualClock clock;
  RateLimiter limiter(clock);
  const ApiKey key = Key("t", 6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(limiter.Acquire(key).ok()) << i;
    limiter.Release(key);
  }
  EXPECT_EQ(RetryMs(limiter.Acquire(key)), 10'000);  // one of six a minute
  clock.AdvanceUs(10 * kSecondUs - 1'000);
  EXPECT_EQ(RetryMs(limiter.Acquire(key)), 1);
  clock.AdvanceUs(1'000);
  EXPECT_TRUE(limiter.Acquire(key).ok());
  limiter.Release(key);
  EXPECT_FALSE(limiter.Acquire(key).ok());
  // Long rest fills the bucket, and no more than that.
  clock.AdvanceUs(3600 * kSecondUs);
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(limiter.Acquire(key).ok()) << i;
    limiter.Release(key);
  }
  EXPECT_FALSE(limiter.Acquire(key).ok());
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, ConcurrencyAtTheLimitAndOnePast) {
  ManualClock clock;
  RateLimiter limiter(clock);
  const ApiKey key = Key("t", 0, 0, 2);
  ASSERT_TRUE(limiter.Acquire(key).ok());
  ASSERT_TRUE(limiter.Acquire(key).ok());
  EXPECT_EQ(RetryMs(limiter.Acquire(key)), 1'000);
  limiter.Release(key);
  EXPECT_TRUE(limiter.Acquire(key).ok());
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, TokensMayGoBelowZeroAndAreWaitedFor) {
  ManualClock clock;
  RateLimiter limiter(clock);
  const ApiKey key = Key("t", 0, 60);  // one a second
  ASSERT_TRUE(limiter.Acquire(key).ok());
  limiter.Charge(key, 59);
  EXPECT_TRUE(limiter.Acquire(key).ok());  // one is left
  limiter.Charge(key, 1);
  EXPECT_EQ(RetryMs(limiter.Acquire(key)), 1'000);
  limiter.Charge(key, 60);
  limiter.Charge(key, -5);
  EXPECT_EQ(RetryMs(limiter.Acquire(key)), 61'000);
  clock.AdvanceUs(61 * kSecondUs);
  EXPECT_TRUE(limiter.Acquire(key).ok());
}

TEST(RateLimiterTest, RefusedRequestsTakeNothing) {
  ManualClock clock;
  RateLimiter limiter(clock);
  const ApiKey key = Key("t", 2, 0, 1);
  ASSERT_TRUE(limiter.Acquire(key).ok());
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limiter.Acquire(key).ok());  // one at once
  limiter.Release(key);
  EXPECT_TRUE(limiter.Acquire(key).ok());  // the second of two a minute
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, TenantsShareAmongTheirKeysAndNotWithOthers) {
  ManualClock clock;
  RateLimiter limiter(clock);
  ApiKey first = Key("team", 1);
  ApiKey second = first;
  second.id = "another";
  ASSERT_TRUE(limiter.Acquire(first).ok());
  EXPECT_FALSE(limiter.Acquire(second).ok());
  EXPECT_TRUE(limiter.Acquire(Key("other", 1)).ok());
}

TEST(RateLimiterTest, NewLimitsCountAtOnce) {
  ManualClock clock;
  RateLimiter limiter(clock);
  const ApiKey old = Key("t", 1, 10);
  ASSERT_TRUE(limiter.Acquire(old).ok());
  limiter.Charge(old, 100);
  const ApiKey more = Key("t", 2, 1000);
  EXPECT_TRUE(limiter.Acquire(more).ok());
  EXPECT_FALSE(limiter.Acquire(more).ok());  // the first one still counts
  const ApiKey none = Key("t", 0, 0, 0);
  EXPECT_TRUE(limiter.Acquire(none).ok());
  limiter.Release(none);
  limiter.Charge(old, 7);
  limiter.Release(old);
  limiter.Release(more);
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, ForgetsWhoRests) {
  ManualClock clock;
  RateLimiter limiter(clock);
  for (int i = 0; i < 100'000; ++i) {
    const ApiKey key = Key("t" + std::to_string(i), 600);
    ASSERT_TRUE(limiter.Acquire(key).ok()) << i;
    limiter.Release(key);
    clock.AdvanceUs(10'000);  // full again after ten such steps
    ASSERT_LE(limiter.tenants(), 200U);
  }
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, RemembersABoundedNumber) {
  ManualClock clock;
  RateLimiter limiter(clock);
  std::vector<ApiKey> keys;
  for (size_t i = 0; i < RateLimiter::kMaxTenants; ++i) {
    keys.push_back(Key("t" + std::to_string(i), 10));
    ASSERT_TRUE(limiter.Acquire(keys.back()).ok());
  }
  const ApiKey one_more = Key("one more", 10);
  EXPECT_EQ(RetryMs(limiter.Acquire(one_more)), 1'000);
  EXPECT_TRUE(limiter.Acquire(keys[0]).ok());
  EXPECT_TRUE(limiter.Acquire(Key("unlimited", 0)).ok());
  EXPECT_EQ(limiter.tenants(), RateLimiter::kMaxTenants);
  limiter.Release(keys[1]);
  clock.AdvanceUs(60 * kSecondUs);
  EXPECT_TRUE(limiter.Acquire(one_more).ok());
  limiter.CheckIntegrity();
}

TEST(RateLimiterTest, ManyThreadsNeverExceedALimit) {
  ManualClock clock;  // stands still: nothing comes back
  RateLimiter limiter(clock);
  const ApiKey key = Key("t", 1000, 0, 3);
  std::atomic<int> running{0};
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        if (!limiter.Acquire(key).ok()) continue;
        EXPECT_LE(++running, 3);
        ++taken;
        limiter.Charge(key, 1);
        --running;
        limiter.Release(key);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(taken, 1000);
  limiter.CheckIntegrity();
}

}  // namespace
}  // namespace inferd
