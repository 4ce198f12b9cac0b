// The page /ui: a chat and the daemon's state, for a browser. Its files are compiled
// in; they need no other host and no build step.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "inferd/net/http.h"

namespace inferd {

struct UiFile {
  std::string_view path;          // "/ui" for the page itself, "/ui/app.js"
  std::string_view content_type;  // "text/html; charset=utf-8"
  std::string_view bytes;
};

// All of them; static storage. Any thread.
std::span<const UiFile> UiFiles();

// The answer to a GET of `path`, with the headers that keep the page to itself
// (Content-Security-Policy and others); nullopt for any path that is not one of the
// files, "/ui/" included: the page's links are relative to "/ui".
std::optional<HttpResponse> UiAnswer(std::string_view path);

}  // namespace inferd
