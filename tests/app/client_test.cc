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

}  // namespace
}  // namespace inferd::app
