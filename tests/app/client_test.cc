#include "app/client.h"

#include "gtest/gtest.h"

namespace inferd::app {
namespace {

TEST(Printable, DropsWhatControlsATerminal) {
  EXPECT_EQ(Printable("plain\ttext\n"), "plain\ttext\n");
  EXPECT_EQ(Printable("\x1b[31mred\x1b[0m\r\b\x07"), "[31mred[0m");
  EXPECT_EQ(Printable("a\xC2\x9B"
                      "31mb"),
            "a31mb");
  EXPECT_EQ(Printable("\xC2\xA0é€😀"), "\xC2\xA0é€😀");
}

TEST(Describe, NamesTheCode) {
  EXPECT_EQ(Describe(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model\x1b[2J")),
            "NOT_FOUND: no such model[2J");
}

TEST(Describe, AdvisesWhereTheConnectionFailed) {
  const auto text = [](const std::string& message) {
    return Describe(grpc::Status(grpc::StatusCode::UNAVAILABLE, message));
  };
  const std::string failed = "failed to connect to all addresses; last error: ";
  EXPECT_NE(text(failed + "recvmsg:Connection reset by peer").find("add --tls"), std::string::npos);
  EXPECT_NE(text(failed + "SSL routines::wrong version number").find("leave out --tls"),
            std::string::npos);
  EXPECT_NE(text(failed + "SSL routines::certificate verify failed").find("--tls-ca"),
            std::string::npos);
  EXPECT_NE(text(failed + "Peer name x is not in peer certificate").find("--tls-name"),
            std::string::npos);
  EXPECT_EQ(text(failed + "Connection refused"), "UNAVAILABLE: " + failed + "Connection refused");
  // An answer that broke off says nothing about TLS.
  EXPECT_EQ(text("Socket closed"), "UNAVAILABLE: Socket closed");
}

}  // namespace
}  // namespace inferd::app
