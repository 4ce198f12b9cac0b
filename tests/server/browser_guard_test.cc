#include "server/browser_guard.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inferd {
namespace {

std::string Refusal(std::string_view host, std::string_view origin = "",
                    const std::vector<std::string>& allowed = {}) {
  const Status status = CheckBrowser(host, origin, allowed);
  return status.ok() ? "" : status.detail()->reason;
}

TEST(BrowserGuardTest, AddressesAndLocalNamesAreTheServers) {
  for (const char* host : {"127.0.0.1", "127.0.0.1:50051", "[::1]", "[::1]:50051", "10.1.2.3:80",
                           "localhost", "LocalHost:50051", "a.localhost:1", ""}) {
    EXPECT_EQ(Refusal(host), "") << host;
  }
}

TEST(BrowserGuardTest, OtherNamesMustBeAllowed) {
  for (const char* host :
       {"evil.example", "evil.example:50051", "localhost.evil.example", "notlocalhost",
        ".localhost", "127.0.0.1.evil.example", "[evil]", "[", "1.2.3", "2130706433", ":50051"}) {
    EXPECT_EQ(Refusal(host), "HOST_NOT_ALLOWED") << host;
    EXPECT_EQ(Refusal(host, "", {"*"}), "") << host;
  }
  EXPECT_EQ(Refusal("Inferd.Lan:50051", "", {"other", "inferd.lan"}), "");
  EXPECT_EQ(Refusal("sub.inferd.lan", "", {"inferd.lan"}), "HOST_NOT_ALLOWED");
}

TEST(BrowserGuardTest, PagesMustBeOfTheSameHost) {
  EXPECT_EQ(Refusal("127.0.0.1:50051", "http://127.0.0.1:50051"), "");
  EXPECT_EQ(Refusal("localhost:50051", "https://LOCALHOST:50051"), "");
  for (const char* origin : {"http://evil.example", "null", "http://127.0.0.1:8080", "http://",
                             "127.0.0.1:50051", "http://127.0.0.1:50051.evil.example", "://x"}) {
    EXPECT_EQ(Refusal("127.0.0.1:50051", origin), "ORIGIN_NOT_ALLOWED") << origin;
  }
  EXPECT_EQ(Refusal("127.0.0.1:50051", "https://chat.lan", {"chat.lan"}), "");
}

}  // namespace
}  // namespace inferd
