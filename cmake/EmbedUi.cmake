# cmake -D SOURCE_DIR=... -D OUTPUT=... -P EmbedUi.cmake
# Writes a C++ file that holds the files of the page /ui, for server/ui_page.h.
set(type_css "text/css; charset=utf-8")
set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

file(GLOB files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/*)
list(SORT files)
set(arrays "")
set(entries "")
set(index 0)
foreach(name IN LISTS files)
  string(REGEX REPLACE "^.*\\." "" extension "${name}")
  if(NOT DEFINED type_${extension})
    message(FATAL_ERROR "${SOURCE_DIR}/${name}: no content type is known for .${extension}")
  endif()
  set(path "/ui/${name}")
  if(name STREQUAL "index.html")
    set(path "/ui")
  endif()
  file(READ ${SOURCE_DIR}/${name} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
  string(APPEND arrays "constexpr char kFile${index}[] = {${bytes}};\n")
  string(APPEND entries
    "    {\"${path}\", \"${type_${extension}}\", {kFile${index}, sizeof(kFile${index})}},\n")
  math(EXPR index "${index} + 1")
endforeach()

file(WRITE ${OUTPUT} "// Generated from src/server/ui by cmake/EmbedUi.cmake.
#include \"server/ui_page.h\"

namespace inferd {
namespace {

${arrays}
constexpr UiFile kFiles[] = {
${entries}};

}  // namespace

std::span<const UiFile> UiFiles() { return kFiles; }

}  // namespace inferd
")
