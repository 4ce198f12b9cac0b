#include "inferd/auth/key_ring.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>

#include "auth/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inferd {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string HashOf(const std::string& secret) { return auth::ToHex(auth::Sha256(secret)); }

std::string Entry(const std::string& id, const std::string& secret, const std::string& more = "") {
  return "  - id: " + id + "\n    sha256: " + HashOf(secret) + "\n" + more;
}

std::shared_ptr<const KeyRing> Ring(const std::string& yaml) {
  auto ring = KeyRing::Parse(yaml, "keys.yaml");
  EXPECT_TRUE(ring.ok()) << ring.status().ToString();
  return ring.ok() ? *ring : nullptr;
}

std::string ErrorOf(const std::string& yaml) {
  const auto ring = KeyRing::Parse(yaml, "keys.yaml");
  EXPECT_FALSE(ring.ok()) << yaml;
  return ring.ok() ? "" : ring.status().message();
}

TEST(KeyRingTest, FindsEachKeyWithItsRights) {
  const auto ring = Ring("keys:\n" + Entry("alice", "secret-a") +
                         Entry("bob", "secret-b",
                               "    tenant: team\n    models: [small, \"org/large\"]\n"
                               "    requests_per_minute: 60\n    tokens_per_minute: 1000\n"
                               "    max_concurrent: 2\n    admin: true\n"));
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(ring->size(), 2U);
  const ApiKey* alice = ring->Find("secret-a");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->id, "alice");
  EXPECT_EQ(alice->tenant, "alice");
  EXPECT_TRUE(alice->MayUse("anything"));
  EXPECT_EQ(alice->requests_per_minute, 0);
  EXPECT_FALSE(alice->admin);
  const ApiKey* bob = ring->Find("secret-b");
  ASSERT_NE(bob, nullptr);
  EXPECT_EQ(bob->tenant, "team");
  EXPECT_TRUE(bob->MayUse("org/large"));
  EXPECT_FALSE(bob->MayUse("org"));
  EXPECT_EQ(bob->requests_per_minute, 60);
  EXPECT_EQ(bob->tokens_per_minute, 1000);
  EXPECT_EQ(bob->max_concurrent, 2);
  EXPECT_TRUE(bob->admin);
}

TEST(KeyRingTest, FindsNothingElse) {
  const auto ring = Ring("keys:\n" + Entry("alice", "secret-a"));
  for (const std::string& wrong :
       {std::string(), std::string("secret-"), std::string("secret-a "), std::string("Secret-a"),
        HashOf("secret-a"), std::string("secret-a\0", 9), std::string(100'000, 'x')}) {
    EXPECT_EQ(ring->Find(wrong), nullptr) << wrong.substr(0, 80);
  }
  EXPECT_EQ(Ring("keys:\n")->Find(""), nullptr);
  EXPECT_EQ(Ring("keys: []\n")->size(), 0U);
}

TEST(KeyRingTest, ErrorsNameLineAndField) {
  EXPECT_EQ(ErrorOf("keys:\n" + Entry("a b", "s")),
            "keys.yaml:2: id: expected 1 to 64 letters, digits, dots, dashes or underscores");
  EXPECT_EQ(ErrorOf("keys:\n  - id: a\n    sha256: 1234\n"),
            "keys.yaml:3: sha256: expected 64 hexadecimal digits");
  EXPECT_EQ(ErrorOf("keys:\n  - id: a\n"), "keys.yaml:2: sha256: missing");
  EXPECT_EQ(ErrorOf("keys:\n" + Entry("a", "s", "    modells: [x]\n")),
            "keys.yaml:4: unknown field modells");
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s", "    max_concurrent: -1\n")),
              HasSubstr("keys.yaml:4: max_concurrent: expected a whole number"));
  for (const char* bad : {"1.5", "x", "", "99999999999999999999", "1000000001", "[1]"}) {
    EXPECT_THAT(
        ErrorOf("keys:\n" + Entry("a", "s", "    tokens_per_minute: " + std::string(bad) + "\n")),
        HasSubstr("tokens_per_minute"))
        << bad;
  }
  Ring("keys:\n" + Entry("a", "s", "    tokens_per_minute: 1000000000\n"));  // at the limit
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s", "    models: []\n")), HasSubstr("models"));
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s", "    models: small\n")), HasSubstr("models"));
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s", "    admin: yes\n")), HasSubstr("admin"));
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s", "    id: b\n")), HasSubstr("id: set twice"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("expected a map"));
  EXPECT_THAT(ErrorOf("- a\n"), HasSubstr("expected a map"));
  EXPECT_THAT(ErrorOf("{}\n"), HasSubstr("`keys` is missing"));
  EXPECT_THAT(ErrorOf("keys: {a: b}\n"), HasSubstr("expected a list"));
}

TEST(KeyRingTest, RefusesDuplicates) {
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s1") + Entry("a", "s2")),
              HasSubstr("keys.yaml:4: id: a is there twice"));
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s") + Entry("b", "s")),
              HasSubstr("keys.yaml:4: sha256: another entry has the same"));
  const std::string team = "    tenant: team\n";
  EXPECT_THAT(ErrorOf("keys:\n" + Entry("a", "s1", team) +
                      Entry("b", "s2", team + "    max_concurrent: 1\n")),
              HasSubstr("limits differ"));
  EXPECT_EQ(Ring("keys:\n" + Entry("a", "s1", team) + Entry("b", "s2", team))->size(), 2U);
}

TEST(KeyRingTest, ErrorsNeverQuoteWhatMayBeASecret) {
  const std::string secret = "sk-inferd-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefg";
  for (const std::string& yaml :
       {"keys:\n  - id: a\n    sha256: " + secret + "\n", "keys:\n  - " + secret + ": x\n",
        "keys:\n  - " + secret + "\n", secret + ": 1\n", secret + "\n",
        "keys:\n  - id: [" + secret + "\n", "keys: *" + secret + "\n",
        "keys:\n  - id: a\n    admin: " + secret + "\n", "keys:\n  - id: " + secret + "!\n"}) {
    EXPECT_THAT(ErrorOf(yaml), Not(HasSubstr("AbCdEf"))) << yaml;
  }
}

TEST(KeyRingTest, DamagedFilesAreErrors) {
  const std::string whole = "keys:\n" + Entry("alice", "s", "    models: [\"a\", b]\n");
  int refused = 0;
  for (size_t length = 0; length < whole.size(); ++length) {
    refused += KeyRing::Parse(whole.substr(0, length), "x").ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 80);  // a few prefixes are files of their own
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    for (const char c : {'\0', '[', '\xff', '&', '*', '\t'}) {
      damaged[i] = c;
      // No crash, and a ring only from what is one.
      const auto ring = KeyRing::Parse(damaged, "x");
      EXPECT_TRUE(!ring.ok() || (*ring)->size() <= 1U);
    }
  }
  EXPECT_THAT(ErrorOf(std::string(100'000, '[')), HasSubstr("not valid YAML"));
  EXPECT_THAT(ErrorOf(std::string(KeyRing::kMaxFileBytes + 1, ' ')), HasSubstr("larger than 4MiB"));
}

TEST(KeyRingTest, TakesAsManyKeysAsItSaysAndNotOneMore) {
  std::string yaml = "keys:\n";
  for (size_t i = 0; i < KeyRing::kMaxKeys; ++i) {
    yaml += Entry("k" + std::to_string(i), std::to_string(i));
  }
  EXPECT_EQ(Ring(yaml)->size(), KeyRing::kMaxKeys);
  EXPECT_THAT(ErrorOf(yaml + Entry("one-more", "one more")), HasSubstr("more than 10000"));
}

// Each comparison takes a constant time; that none is left out shows in the whole.
TEST(KeyRingTest, ComparesAllEntriesWhicheverMatches) {
  std::string yaml = "keys:\n";
  for (int i = 0; i < 5000; ++i) yaml += Entry("k" + std::to_string(i), std::to_string(i));
  const auto ring = Ring(yaml);
  const auto fastest = [&](const std::string& secret) {
    auto best = std::chrono::nanoseconds::max();
    for (int i = 0; i < 50; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const ApiKey* found = ring->Find(secret);
      best = std::min(best, std::chrono::nanoseconds(std::chrono::steady_clock::now() - start));
      EXPECT_EQ(found != nullptr, secret != "wrong");
    }
    return static_cast<double>(best.count());
  };
  const double wrong = fastest("wrong");
  EXPECT_GT(fastest("0"), 0.5 * wrong);
  EXPECT_GT(fastest("2500"), 0.5 * wrong);
  EXPECT_GT(fastest("4999"), 0.5 * wrong);
}

TEST(KeyRingTest, LoadsFilesAndNamesMissingOnes) {
  const std::string path = testing::TempDir() + "/inferd_keys_test.yaml";
  std::ofstream(path) << "keys:\n" << Entry("a", "s");
  EXPECT_TRUE(KeyRing::Load(path).ok());
  std::remove(path.c_str());
  const auto missing = KeyRing::Load(path);
  EXPECT_EQ(missing.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(missing.status().message(), HasSubstr(path));
  EXPECT_THAT(missing.status().message(), HasSubstr("No such file"));
  EXPECT_THAT(KeyRing::Load(testing::TempDir()).status().message(), HasSubstr("Is a directory"));
}

TEST(GenerateKeyTest, WritesWhatItsSecretOpens) {
  SystemEntropy entropy;
  ApiKey rights;
  rights.id = "alice";
  rights.tenant = "team";
  rights.models = {"a \"quoted\": name", "b"};
  rights.requests_per_minute = 3;
  rights.tokens_per_minute = 4;
  rights.max_concurrent = 5;
  rights.admin = true;
  const auto key = GenerateKey(rights, entropy);
  ASSERT_TRUE(key.ok()) << key.status().ToString();
  EXPECT_EQ(key->secret.rfind("sk-inferd-", 0), 0U);
  EXPECT_EQ(key->secret.size(), 10 + 43U);
  EXPECT_THAT(key->yaml, Not(HasSubstr(key->secret)));
  const auto ring = Ring("keys:\n" + key->yaml);
  const ApiKey* found = ring->Find(key->secret);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->id, rights.id);
  EXPECT_EQ(found->tenant, rights.tenant);
  EXPECT_EQ(found->models, rights.models);
  EXPECT_EQ(found->requests_per_minute, 3);
  EXPECT_EQ(found->tokens_per_minute, 4);
  EXPECT_EQ(found->max_concurrent, 5);
  EXPECT_TRUE(found->admin);
}

TEST(GenerateKeyTest, SecretsAndIdsAreNew) {
  SystemEntropy entropy;
  std::set<std::string> secrets;
  std::string file = "keys:\n";
  for (int i = 0; i < 100; ++i) {
    const auto key = GenerateKey({}, entropy);
    ASSERT_TRUE(key.ok());
    secrets.insert(key->secret);
    file += key->yaml;
  }
  EXPECT_EQ(secrets.size(), 100U);
  EXPECT_EQ(Ring(file)->size(), 100U);
}

class FixedEntropy final : public EntropySource {
 public:
  uint64_t Next64() override { return 0xfffefdfcfbfaf9f8; }
};

TEST(GenerateKeyTest, EncodesAllBits) {
  FixedEntropy entropy;
  ApiKey rights;
  rights.id = "a";
  // python3: base64.urlsafe_b64encode(bytes(range(0xf8, 0x100)) * 4)
  EXPECT_EQ(GenerateKey(rights, entropy)->secret,
            "sk-inferd--Pn6-_z9_v_4-fr7_P3-__j5-vv8_f7_-Pn6-_z9_v8");
}

TEST(GenerateKeyTest, RefusesRightsThatTheFileCannotHold) {
  SystemEntropy entropy;
  ApiKey rights;
  rights.id = "a b";
  EXPECT_FALSE(GenerateKey(rights, entropy).ok());
  rights.id = "a";
  rights.tenant = "x\n  - id: y";
  EXPECT_FALSE(GenerateKey(rights, entropy).ok());
  rights.tenant.clear();
  rights.models.assign(KeyRing::kMaxModels, "m");
  EXPECT_TRUE(GenerateKey(rights, entropy).ok());
  rights.models.emplace_back("one more");
  EXPECT_FALSE(GenerateKey(rights, entropy).ok());
}

}  // namespace
}  // namespace inferd
