#include "server/authorizer.h"

#include "gtest/gtest.h"

namespace inferd {
namespace {

// sha256 of "one" and "two".
constexpr char kFile[] =
    "keys:\n"
    "  - id: one\n"
    "    sha256: 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n"
    "    models: [small]\n"
    "    max_concurrent: 1\n"
    "  - id: two\n"
    "    sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3\n"
    "    admin: true\n";

std::shared_ptr<const KeyRing> Ring(const char* yaml = kFile) {
  auto ring = KeyRing::Parse(yaml, "test");
  EXPECT_TRUE(ring.ok()) << ring.status().ToString();
  return *ring;
}

std::string IdOf(const StatusOr<Principal>& principal) {
  if (!principal.ok()) {
    EXPECT_EQ(principal.status().code(), StatusCode::kUnauthenticated);
    return "refused";
  }
  return *principal == nullptr ? "anybody" : (*principal)->id;
}

class AuthorizerTest : public testing::Test {
 protected:
  ManualClock clock_;
};

TEST_F(AuthorizerTest, OpenServersAskNobody) {
  const Authorizer open(clock_, nullptr, false);
  EXPECT_EQ(IdOf(open.Authenticate({})), "anybody");
  EXPECT_EQ(IdOf(open.Authenticate({"Bearer x", "y", "z"})), "anybody");
  EXPECT_TRUE(open.AuthenticateAdmin({}).ok());
}

TEST_F(AuthorizerTest, ReadsBothHeaders) {
  const Authorizer keys(clock_, Ring(), false);
  EXPECT_EQ(IdOf(keys.Authenticate({"Bearer one"})), "one");
  EXPECT_EQ(IdOf(keys.Authenticate({"bEARER  two "})), "two");
  EXPECT_EQ(IdOf(keys.Authenticate({"", "one"})), "one");
  // The first counts, also when it is wrong.
  EXPECT_EQ(IdOf(keys.Authenticate({"Bearer two", "one"})), "two");
  EXPECT_EQ(IdOf(keys.Authenticate({"Bearer three", "one"})), "refused");
  for (const char* wrong : {"", "one", "Bearer", "Bearer ", "Bearer  ", "Basic one", "Bearerone",
                            "Bearer one two", "Bearer o", "Bearer onee", "Bearer\tone"}) {
    EXPECT_EQ(IdOf(keys.Authenticate({wrong})), "refused") << wrong;
  }
  // A certificate is no key.
  EXPECT_EQ(IdOf(keys.Authenticate({"", "", "CN=one"})), "refused");
  const Authorizer both(clock_, Ring(), true);
  EXPECT_EQ(IdOf(both.Authenticate({"", "", "CN=one"})), "refused");
  EXPECT_EQ(IdOf(both.Authenticate({"Bearer one", "", "CN=x"})), "one");
  EXPECT_EQ(IdOf(Authorizer(clock_, Ring("keys: []\n"), true).Authenticate({"", "", "CN=x"})),
            "refused");
}

TEST_F(AuthorizerTest, CertificatesCountWithoutKeys) {
  const Authorizer certificates(clock_, nullptr, true);
  EXPECT_EQ(IdOf(certificates.Authenticate({})), "refused");
  EXPECT_EQ(IdOf(certificates.Authenticate({"Bearer one", "one"})), "refused");
  const auto a = certificates.Authenticate({"", "", "0123abcd"});
  const auto b = certificates.Authenticate({"", "", "0123abce"});
  EXPECT_EQ(IdOf(a), "certificate-0123abcd");
  EXPECT_NE((*a)->tenant, (*b)->tenant);
  EXPECT_FALSE(certificates.AuthenticateAdmin({"", "", "0123abcd"}).ok());
}

TEST_F(AuthorizerTest, AdminNeedsAnAdminKey) {
  const Authorizer keys(clock_, Ring(), false);
  EXPECT_TRUE(keys.AuthenticateAdmin({"Bearer two"}).ok());
  EXPECT_EQ(keys.AuthenticateAdmin({"Bearer one"}).status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(keys.AuthenticateAdmin({}).status().code(), StatusCode::kUnauthenticated);
}

TEST_F(AuthorizerTest, NewKeysCountFromThenOn) {
  Authorizer keys(clock_, Ring(), false);
  const auto before = keys.Authenticate({"Bearer one"});
  keys.SetKeys(Ring("keys: []\n"));
  EXPECT_EQ(IdOf(keys.Authenticate({"Bearer one"})), "refused");
  EXPECT_EQ((*before)->id, "one");  // what is under way keeps its rights
  keys.SetKeys(nullptr);            // never opens the door
  EXPECT_EQ(IdOf(keys.Authenticate({})), "refused");
  Authorizer open(clock_, nullptr, false);
  open.SetKeys(Ring());
  EXPECT_EQ(IdOf(open.Authenticate({})), "anybody");
}

TEST_F(AuthorizerTest, ModelsByIdOrAlias) {
  ServedModel model;
  model.id = "large";
  const Authorizer keys(clock_, Ring(), false);
  const Principal one = *keys.Authenticate({"Bearer one"});
  const Principal two = *keys.Authenticate({"Bearer two"});
  EXPECT_TRUE(CheckModelAccess(nullptr, model).ok());
  EXPECT_TRUE(CheckModelAccess(two, model).ok());
  const Status denied = CheckModelAccess(one, model);
  EXPECT_EQ(denied.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(denied.message().find("large"), std::string::npos);
  model.aliases = {"tiny", "small"};
  EXPECT_TRUE(CheckModelAccess(one, model).ok());
}

TEST_F(AuthorizerTest, QuotaComesBackOnce) {
  Authorizer keys(clock_, Ring(), false);
  const Principal one = *keys.Authenticate({"Bearer one"});
  {
    auto share = QuotaShare::Take(keys.limiter(), one);
    ASSERT_TRUE(share.ok());
    const QuotaShare moved(std::move(*share));
    EXPECT_EQ(QuotaShare::Take(keys.limiter(), one).status().detail()->reason, "RATE_LIMITED");
    keys.limiter().CheckIntegrity();
  }
  EXPECT_TRUE(QuotaShare::Take(keys.limiter(), one).ok());
  keys.limiter().CheckIntegrity();
  auto nobody = QuotaShare::Take(keys.limiter(), nullptr);
  nobody->Charge(5);
}

}  // namespace
}  // namespace inferd
