// Hosts of a test's own: network namespaces, and a cable between every two of them. Needs root
// and iproute2, and /dev/net/tun for cables that are bad.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/unique_fd.h"

namespace inferd::testing {

// `out`: where its output goes, or -1 for nowhere. -1 when it cannot be started.
pid_t StartProgram(std::vector<std::string> words, int out);
// Words between spaces.
std::vector<std::string> Words(const std::string& line);
// Runs it; whether it exited with 0.
bool Command(const std::string& line);

// What is wrong with a cable (user_link.cc).
struct LinkFaults {
  int64_t delay_us = 0;
  int64_t jitter_us = 0;
  int64_t loss = 0;  // of a million
  int64_t rate = 0;  // bytes a second
};

class TestNetwork {
 public:
  // Null where there are no rights or programs for it.
  static std::unique_ptr<TestNetwork> Make(int hosts);
  ~TestNetwork();
  TestNetwork(const TestNetwork&) = delete;
  TestNetwork& operator=(const TestNetwork&) = delete;

  // Whether cables can be bad here.
  static bool HasTunnels();

  // Cables in place of those there were: sound ones, or as bad as `faults`. False where that
  // fails.
  bool Plug();
  bool Plug(const LinkFaults& faults);

  // Of the namespace.
  const std::string& name(int host) const { return names_[static_cast<size_t>(host)]; }
  static std::string Address(int host) { return "10.99.0." + std::to_string(host + 1); }
  // The interface at either end of the cable between two hosts.
  static std::string Cable(int host, int other);
  // Segments of TCP that a host had to send again.
  int64_t Retransmitted(int host) const;

 private:
  explicit TestNetwork(int hosts);
  bool SetAddresses();
  void Unplug();

  std::vector<std::string> names_;
  std::vector<pid_t> links_;
};

// For as long as it lives its thread is on a host, and so is what that thread starts.
class OnHost {
 public:
  OnHost(const TestNetwork& network, int host);
  ~OnHost();
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;

 private:
  const UniqueFd before_;
};

}  // namespace inferd::testing
