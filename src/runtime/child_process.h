#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/base/unique_fd.h"

namespace inferd::runtime {

// The descriptor at which a child finds its end of the control socket. Of others it has
// only 0 and 1 (/dev/null) and 2 (a pipe to this process).
inline constexpr int kChildControlFd = 3;

// How a child ended.
struct ChildExit {
  bool signalled = false;
  int code = 0;  // exit code or signal
  // "exited with code 70", "was killed by signal 9 (Killed)".
  std::string Text() const;
};

// A process of this program's making. All its methods are called by the thread that
// started it, which must outlive the child: where a child asks for a signal at its
// parent's death (see DieWithParent), it gets one when that thread ends.
class ChildProcess {
 public:
  // Runs `command`, whose first element is a path, and kChildControlFd, with this process's
  // environment but for variables of our own (INFERD_*), which may hold secrets. UNAVAILABLE when
  // the system does not let it.
  static StatusOr<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& command);
  // Kills what is still there.
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  int pid_fd() const { return pid_fd_.get(); }  // readable once it has ended
  int control_fd() const { return control_.get(); }
  int log_fd() const { return log_.get(); }  // non-blocking

  void Kill();
  // Collects the end of a child that has ended, or will within moments.
  ChildExit Wait();
  bool waited() const { return waited_; }

 private:
  ChildProcess() = default;

  static constexpr pid_t kNoProcess = -1;

  pid_t pid_ = kNoProcess;
  UniqueFd pid_fd_;
  UniqueFd control_;
  UniqueFd log_;
  bool waited_ = true;  // there is nobody to wait for
  ChildExit exit_;
};

// In a child: the kernel kills it when its parent dies. False when that has happened.
bool DieWithParent(pid_t parent);

}  // namespace inferd::runtime
