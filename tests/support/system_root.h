// A directory that stands for "/", with the files that tell a process what it may use.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace inferd::testing {

// A fixture; the directory is empty before each test.
class SystemRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::path(::testing::TempDir()) /
                 (std::string(test->test_suite_name()) + "_" + test->name());
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((directory_ / path).parent_path());
    std::ofstream(directory_ / path) << text;
  }
  // The files of version 2 are seen below /sys/fs/cgroup from group `group` on.
  void MountVersion2(const std::string& group = "/") const {
    Write("proc/self/mountinfo",
          "25 1 0:22 / / rw - ext4 /dev/vda rw\n"
          "30 25 0:26 " +
              group + " /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n");
  }
  // Those of version 1, of `controllers`, below /sys/fs/cgroup/ and `controllers`.
  void MountVersion1(const std::string& controllers, const std::string& group = "/") const {
    std::ofstream(directory_ / "proc/self/mountinfo", std::ios::app)
        << "31 25 0:27 " << group << " /sys/fs/cgroup/" << controllers
        << " rw,relatime - cgroup cgroup rw," << controllers << "\n";
  }
  std::string root() const { return directory_.string() + "/"; }

 private:
  std::filesystem::path directory_;
};

}  // namespace inferd::testing
