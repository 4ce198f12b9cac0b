// What holds for every file of the page, whoever edits it.
#include "server/ui_page.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace inferd {
namespace {

std::string_view Bytes(std::string_view path) {
  for (const UiFile& file : UiFiles()) {
    if (file.path == path) return file.bytes;
  }
  return {};
}

// Everything that follows `mark` up to the next quote.
std::set<std::string> Quoted(std::string_view text, std::string_view mark) {
  std::set<std::string> found;
  for (size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at)) {
    at += mark.size();
    found.insert(std::string(text.substr(at, text.find('"', at) - at)));
  }
  return found;
}

std::string Header(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

TEST(UiPage, WhatThePageAndItsModulesNameIsThere) {
  const std::string_view page = Bytes("/ui");
  ASSERT_FALSE(page.empty());
  std::set<std::string> names = Quoted(page, "src=\"");
  names.merge(Quoted(page, "href=\""));
  EXPECT_GE(names.size(), 3U);
  for (const std::string& name : names) EXPECT_FALSE(Bytes("/" + name).empty()) << name;
  size_t imports = 0;
  for (const UiFile& file : UiFiles()) {
    for (const std::string& name : Quoted(file.bytes, "from \"./")) {
      ++imports;
      EXPECT_FALSE(Bytes("/ui/" + name).empty()) << file.path << " imports " << name;
    }
  }
  EXPECT_GE(imports, 4U);
}

TEST(UiPage, NothingComesFromElsewhereOrIsInline) {
  for (const UiFile& file : UiFiles()) {
    const std::string_view text = file.bytes;
    EXPECT_FALSE(text.empty()) << file.path;
    EXPECT_EQ(text.find("https:"), std::string_view::npos) << file.path;
    const size_t http = text.find("http:");
    if (http != std::string_view::npos) {  // the name of SVG's namespace alone
      EXPECT_EQ(text.substr(http, 18), "http://www.w3.org/") << file.path;
    }
    for (const std::string_view bad : {"innerHTML", "eval(", "localStorage", "sessionStorage",
                                       "document.cookie", " style=", " onclick=", "<style"}) {
      EXPECT_EQ(text.find(bad), std::string_view::npos) << file.path << " has " << bad;
    }
  }
}

TEST(UiPage, AnswersKeepThePageToItself) {
  for (const UiFile& file : UiFiles()) {
    const auto answer = UiAnswer(file.path);
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->content_type, file.content_type);
    EXPECT_EQ(answer->body, file.bytes);
    const std::string policy = Header(*answer, "content-security-policy");
    EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(Header(*answer, "x-content-type-options"), "nosniff");
  }
  EXPECT_EQ(UiAnswer("/ui")->content_type, "text/html; charset=utf-8");
}

TEST(UiPage, OtherPathsAreNotAnswered) {
  for (const std::string_view path :
       {"", "/", "/ui/", "/ui/index.html", "/ui/../ui", "/UI", "/ui/app.js/"}) {
    EXPECT_FALSE(UiAnswer(path).has_value()) << path;
  }
}

}  // namespace
}  // namespace inferd
