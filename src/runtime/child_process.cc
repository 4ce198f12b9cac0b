#include "runtime/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace inferd::runtime {
namespace {

Status SystemError(const char* what, int error) {
  return UnavailableError(std::string("starting a rank: ") + what + ": " + std::strerror(error));
}

// posix_spawn's two objects, destroyed with this.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  // Default handlers and nothing blocked, whatever this process does; SIGPIPE too.
  void ResetSignals() {
    sigset_t set;
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attributes_, &set);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes_, &set);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  }
  // `control` and `log` are above every number that is given out here.
  void SetDescriptors(int control, int log) {
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, log, 2);
    posix_spawn_file_actions_adddup2(&actions_, control, kChildControlFd);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChildControlFd + 1);
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::vector<char*> ChildEnvironment() {
  std::vector<char*> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::string_view(*entry).rfind("INFERD_", 0) != 0) entries.push_back(*entry);
  }
  entries.push_back(nullptr);
  return entries;
}

// The same descriptor with a number that no dup2 of the child's will overwrite.
UniqueFd MoveUp(UniqueFd fd) {
  return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, kChildControlFd + 1));
}

}  // namespace

std::string ChildExit::Text() const {
  if (!signalled) return "exited with code " + std::to_string(code);
  const char* const name = sigdescr_np(code);
  return "was killed by signal " + std::to_string(code) + " (" +
         (name != nullptr ? name : "unknown") + ")";
}

StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command) {
  std::array<int, 2> sockets{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return SystemError("socketpair", errno);
  }
  std::unique_ptr<ChildProcess> child(new ChildProcess);
  child->control_.Reset(sockets[0]);
  const UniqueFd control = MoveUp(UniqueFd(sockets[1]));
  std::array<int, 2> pipes{};
  if (pipe2(pipes.data(), O_CLOEXEC) != 0) return SystemError("pipe", errno);
  child->log_.Reset(pipes[0]);
  const UniqueFd log = MoveUp(UniqueFd(pipes[1]));
  if (!control || !log) return SystemError("fcntl", errno);
  if (fcntl(child->log_.get(), F_SETFL, O_NONBLOCK) != 0) return SystemError("fcntl", errno);

  std::vector<std::string> words = command;
  words.push_back(std::to_string(kChildControlFd));
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  SpawnPlan plan;
  plan.ResetSignals();
  plan.SetDescriptors(control.get(), log.get());
  pid_t pid = kNoProcess;
  const int error = posix_spawn(&pid, words[0].c_str(), plan.actions(), plan.attributes(),
                                arguments.data(), ChildEnvironment().data());
  if (error != 0) return SystemError("spawn", error);
  child->pid_ = pid;
  child->waited_ = false;
  // Not the function: its header is for C only in some versions of glibc.
  child->pid_fd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, child->pid_, 0)));
  if (!child->pid_fd_) return SystemError("pidfd_open", errno);
  return child;
}

ChildProcess::~ChildProcess() {
  if (waited_) return;  // or there never was one: to kill(2), -1 is everybody
  Kill();
  (void)Wait();
}

void ChildProcess::Kill() {
  if (!waited_) (void)kill(pid_, SIGKILL);  // it is not reaped, so the number is still its own
}

ChildExit ChildProcess::Wait() {
  if (waited_) return exit_;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  waited_ = true;
  exit_.signalled = WIFSIGNALED(status);
  exit_.code = exit_.signalled ? WTERMSIG(status) : WEXITSTATUS(status);
  return exit_;
}

bool DieWithParent(pid_t parent) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before that.
  return getppid() == parent;
}

}  // namespace inferd::runtime
