#include "runtime/stack_dump.h"

#include <dirent.h>
#include <execinfo.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace inferd::runtime {
namespace {

constexpr int kStackSignal = SIGUSR2;
constexpr int kMaxFrames = 64;
constexpr size_t kMaxThreads = 256;
constexpr int kMaxTurns = 10'000;
constexpr int kOwnRounds = 100;
constexpr useconds_t kRoundUs = 5'000;

// A handler finds nothing but what is static. Whose turn it is to write, and how many have.
std::atomic_flag stack_turn = ATOMIC_FLAG_INIT;
std::atomic<int> stacks_written{0};

void WriteAll(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t written = write(STDERR_FILENO, text, size);
    if (written <= 0) return;
    text += written;
    size -= static_cast<size_t>(written);
  }
}

void WriteStack(int) {
  const int saved = errno;
  // Stacks that were written at once would be mixed line by line; rather that than no stack.
  int turns = 0;
  while (stack_turn.test_and_set(std::memory_order_acquire) && ++turns < kMaxTurns) sched_yield();
  std::array<char, 64> line{"stack of thread "};
  size_t length = std::strlen(line.data());
  (void)prctl(PR_GET_NAME, line.data() + length);
  length = std::strlen(line.data());
  line[length++] = '\n';
  WriteAll(line.data(), length);
  std::array<void*, kMaxFrames> frames{};
  const int count = backtrace(frames.data(), kMaxFrames);
  backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
  stack_turn.clear(std::memory_order_release);
  stacks_written.fetch_add(1, std::memory_order_release);
  errno = saved;
}

std::vector<pid_t> ThreadsOf(pid_t pid) {
  std::vector<pid_t> threads;
  DIR* const directory = opendir(("/proc/" + std::to_string(pid) + "/task").c_str());
  if (directory == nullptr) return threads;
  while (const dirent* entry = readdir(directory)) {
    const long thread = std::strtol(entry->d_name, nullptr, 10);
    if (thread > 0 && threads.size() < kMaxThreads) threads.push_back(static_cast<pid_t>(thread));
  }
  closedir(directory);
  return threads;
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The state's letter, which follows the name in parentheses.
std::string StateIn(const std::string& stat) {
  const size_t end = stat.rfind(')');
  return end == std::string::npos || end + 2 >= stat.size() ? "?" : stat.substr(end + 2, 1);
}

}  // namespace

void AnswerStackRequests() {
  // The first call loads what it needs; in the handler it must not.
  std::array<void*, 2> frames{};
  (void)backtrace(frames.data(), static_cast<int>(frames.size()));
  struct sigaction action {};
  action.sa_handler = WriteStack;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  (void)sigaction(kStackSignal, &action, nullptr);
}

int RequestStacks(pid_t pid) {
  int asked = 0;
  for (const pid_t thread : ThreadsOf(pid)) {
    if (syscall(SYS_tgkill, pid, thread, kStackSignal) == 0) ++asked;
  }
  return asked;
}

void WriteOwnStacks() {
  const int before = stacks_written.load(std::memory_order_acquire);
  const int asked = RequestStacks(getpid());
  for (int round = 0; round < kOwnRounds; ++round) {
    if (stacks_written.load(std::memory_order_acquire) - before >= asked) return;
    usleep(kRoundUs);
  }
}

bool IsStopped(pid_t pid) {
  return StateIn(FirstLine("/proc/" + std::to_string(pid) + "/stat")) == "T";
}

int64_t DiskBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/io");
  int64_t bytes = -1;
  for (std::string name; file >> name >> bytes;) {
    if (name == "read_bytes:") return bytes;
  }
  return -1;
}

void LogThreads(spdlog::logger& logger, int rank, pid_t pid) {
  for (const pid_t thread : ThreadsOf(pid)) {
    const std::string base =
        "/proc/" + std::to_string(pid) + "/task/" + std::to_string(thread) + "/";
    std::string line = "thread " + FirstLine(base + "comm") + ": state " +
                       StateIn(FirstLine(base + "stat")) + ", in " + FirstLine(base + "wchan");
    // Readable only for those who may trace the process.
    const std::string call = FirstLine(base + "syscall");
    if (!call.empty()) line += ", system call " + call;
    logger.warn("rank {} does not answer: {}", rank, line);
  }
}

}  // namespace inferd::runtime
