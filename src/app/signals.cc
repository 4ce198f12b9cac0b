#include "app/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "inferd/base/check.h"

namespace inferd::app {

namespace {

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockSignals(std::initializer_list<int> signals) {
  const sigset_t set = SetOf(signals);
  INFERD_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
}

SignalWatcher::SignalWatcher(std::initializer_list<int> signals, std::function<void(int)> on_signal)
    : on_signal_(std::move(on_signal)) {
  BlockSignals(signals);
  const sigset_t set = SetOf(signals);
  signal_fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
  stop_fd_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  INFERD_CHECK(signal_fd_ && stop_fd_);
  thread_ = std::thread([this] { Run(); });
}

SignalWatcher::~SignalWatcher() {
  const uint64_t one = 1;
  INFERD_CHECK(write(stop_fd_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
}

void SignalWatcher::Run() {
  std::array<pollfd, 2> fds{{{signal_fd_.get(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}}};
  for (;;) {
    if (poll(fds.data(), fds.size(), -1) < 0) {
      INFERD_CHECK(errno == EINTR);
      continue;
    }
    if (fds[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_.get(), &info, sizeof(info)) == sizeof(info)) {
      on_signal_(static_cast<int>(info.ssi_signo));
    }
  }
}

}  // namespace inferd::app
