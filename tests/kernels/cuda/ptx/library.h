// The kernels of a list of PTX files, by the names that nvcc registers them under.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/ptx/program.h"

namespace inferd::cuda::ptx {

// The name without what nvcc draws anew for each compilation of a file: of the names that it
// gives to anonymous namespaces the file's stays.
std::string StableName(std::string_view mangled);

// Files are read at once, kernels decoded when they are first asked for. Any thread.
class Library {
 public:
  // `list` is a file with the path of a PTX file in each line.
  explicit Library(const std::string& list);

  // By the name nvcc gave it in this or another compilation. Null and `error` where it is
  // not there or not understood.
  const Program* Find(std::string_view mangled, std::string* error);
  // Of the files, or empty.
  const std::string& error() const { return error_; }
  std::vector<std::string> names() const;

 private:
  struct Entry {
    const Module* module;
    std::string name;
    std::unique_ptr<Program> program;
  };
  std::string error_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Module>> modules_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace inferd::cuda::ptx
