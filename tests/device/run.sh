#!/usr/bin/env bash
# What `./dev device` packs, on a machine with a GPU and CUDA 13's libraries (the toolkit's,
# or those of Python's wheels): no network, no compiler.
#
#   ./run.sh [--quick | --sanitize | --benchmarks]     from the unpacked folder
#
# Checks (--quick: these alone), sanitizers and benchmarks/device.sh; what they write goes to
# results/, and the record of the benchmarks is printed as well. The last line is "N passed, N failed, N skipped"; the exit status is 1 when
# anything failed.
# Without a GPU everything that needs one is skipped and counted; that the backend finds none
# where the system has one is a failure. CHECK_SECONDS: the most that a check may take.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
HERE="$PWD"
RESULTS="$HERE/results"
mkdir -p "$RESULTS"
export INFERD_SOURCE_DIR="$HERE/tree"
PASSED=0 FAILED=0 SKIPPED=0
CHECKS=1 SANITIZERS=1 BENCHMARKS=1
case "${1:-}" in
  "") ;;
  --quick) SANITIZERS=0 BENCHMARKS=0 ;;
  --sanitize) CHECKS=0 BENCHMARKS=0 ;;
  --benchmarks) CHECKS=0 SANITIZERS=0 ;;
  *) echo "usage: run.sh [--quick | --sanitize | --benchmarks]" >&2; exit 2 ;;
esac
CHECK_SECONDS="${CHECK_SECONDS:-900}"

# The folder of a library of CUDA, in the order in which they are looked at; nothing when the
# loader finds it by itself, or nobody does.
cuda_folder() {
  local name="$1" file
  local -a places=(/usr/local/cuda/lib64 /usr/local/cuda-13*/lib64 /usr/lib/x86_64-linux-gnu
    /opt/cuda/lib64)
  # Python's wheels keep it below site-packages/nvidia.
  if command -v python3 >/dev/null; then
    while IFS= read -r file; do places+=("$file"/nvidia/*/lib); done < <(python3 -c \
      'import site, sys; print("\n".join([*site.getsitepackages(), site.getusersitepackages(), *filter(None, sys.path)]))' \
      2>/dev/null)
  fi
  # Plain list first: one that ends early would break the pipe.
  [[ "$(ldconfig -p 2>/dev/null)" == *"$name"* ]] && return
  for file in "${places[@]}"; do
    if [[ -e "$file/$name" ]]; then
      echo "$file"
      return
    fi
  done
}
CUDA_FOLDER="$(cuda_folder libcublasLt.so.13)"
NCCL_FOLDER="$(cuda_folder libnccl.so.2)"
# For PyTorch, whose libraries are not to meet ours.
export DEVICE_PEERS_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
export LD_LIBRARY_PATH="$HERE/lib${CUDA_FOLDER:+:$CUDA_FOLDER}${NCCL_FOLDER:+:$NCCL_FOLDER}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# check NAME command...: its output goes to results/NAME.log
check() {
  local name="$1" status=0
  shift
  timeout --kill-after=10 "$CHECK_SECONDS" "$@" >"$RESULTS/$name.log" 2>&1 || status=$?
  if ((status == 0)); then
    echo "ok    $name"
    PASSED=$((PASSED + 1))
    return
  fi
  ((status != 124 && status != 137)) || echo "took more than $CHECK_SECONDS s" >>"$RESULTS/$name.log"
  echo "FAIL  $name (results/$name.log)"
  tail -n 15 "$RESULTS/$name.log"
  FAILED=$((FAILED + 1))
}

skip() {
  echo "skip  $1: $2"
  SKIPPED=$((SKIPPED + 1))
}

# Whether the library, a driver and a GPU are there: the program's own answer.
has_gpu() {
  timeout "$CHECK_SECONDS" bin/inferd serve --model tree/models/demo --backend cuda --dry-run >"$RESULTS/gpu.log" 2>&1
}

# Whether the system has one, whatever the backend says.
system_has_gpu() {
  [[ -e /dev/nvidia0 ]] || { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU '; }
}

# A group of one is what one GPU can run of NCCL; its tests skip themselves without NCCL.
has_nccl() {
  timeout "$CHECK_SECONDS" bin/group_of_one_test >"$RESULTS/nccl.log" 2>&1
  ! grep -q 'SKIPPED' "$RESULTS/nccl.log"
}

# 64 streams at once through gRPC, every one answered.
serve_streams() {
  local log="$RESULTS/serve.log" port="" i status=0
  bin/inferd serve --model tree/models/demo --backend cuda --port 0 --http-port 0 \
    --log-format text 2>"$log" &
  local daemon=$!
  for ((i = 0; i < 600; ++i)); do
    port="$(sed -n 's/.*gRPC port \([0-9]*\).*/\1/p' "$log" | head -n 1)"
    [[ -n "$port" ]] && bin/inferd health --addr "127.0.0.1:$port" --timeout 2 && break
    kill -0 "$daemon" || { cat "$log"; return 1; }
    sleep 0.2
  done
  bin/serve_load --addr "127.0.0.1:$port" --concurrency 64 --requests 256 --prompt-tokens 8:96 \
    --output-tokens 16:64 --json "$RESULTS/serve.json" || status=1
  kill -TERM "$daemon"
  wait "$daemon" || status=1
  return "$status"
}

# Races of shared memory. A kernel at a time, and of each its first launches: every one of a run
# takes longer than anybody waits.
RACE_KERNELS=(DecodeKernel PrefillKernel SkinnyKernel NormKernel ScanKernel RankKernel DrawKernel)
racecheck() {
  local kernel flag name status=0
  flag=""
  for name in --kernel-name --kernel-regex --filter; do
    [[ "$(compute-sanitizer --help 2>&1)" == *"$name"* ]] && { flag="$name"; break; }
  done
  for kernel in ${RACE_KERNELS_LIST}; do
    echo "== $kernel"
    compute-sanitizer --tool racecheck --error-exitcode 1 ${flag:+"$flag" "kns=$kernel"} \
      --launch-count 24 bin/golden_test --gtest_filter='*LogitsAgree/llama3_cuda' || status=1
    [[ -n "$flag" ]] || break  # all kernels at once
  done
  return "$status"
}

if ((CHECKS == 1)); then
  # Without a GPU it lists the cases of cuda as skipped, with their number.
  check conformance bin/conformance_test --gtest_filter='*EveryBackend*'
  grep -h '^conformance:' "$RESULTS/conformance.log" || true
fi
if has_gpu; then
  nvidia-smi >"$RESULTS/nvidia-smi.log" 2>&1 || true
  export -f serve_streams racecheck
  export RESULTS RACE_KERNELS_LIST="${RACE_KERNELS[*]}"
  if ((CHECKS == 1)); then
    check invariance bin/invariance_test --gtest_filter='*cuda*'
    check goldens bin/golden_test --gtest_filter='*cuda*'
    if has_nccl; then
      check group_of_one bin/group_of_one_test
    else
      skip group_of_one "$(grep -o -m 1 'cuda: .*' "$RESULTS/nccl.log")"
    fi
    check serve_64_streams bash -uc serve_streams
  fi
  if ((SANITIZERS == 1)); then
    if command -v compute-sanitizer >/dev/null; then
      check sanitizer_memcheck compute-sanitizer --tool memcheck --error-exitcode 1 \
        bin/golden_test --gtest_filter='*LogitsAgree/llama3_cuda'
      check sanitizer_racecheck bash -uc racecheck
    else
      skip sanitizer_memcheck "compute-sanitizer is not in PATH"
      skip sanitizer_racecheck "compute-sanitizer is not in PATH"
    fi
  fi
  if ((BENCHMARKS == 1)); then
    check benchmarks benchmarks/device.sh "$RESULTS"
    cat "$RESULTS"/*.md 2>/dev/null || true
  fi
else
  reason="$(tail -n 1 "$RESULTS/gpu.log")"
  if system_has_gpu; then
    echo "FAIL  gpu (results/gpu.log): the system has a GPU, and the backend finds none"
    FAILED=$((FAILED + 1))
  fi
  names=()
  ((CHECKS == 0)) || names+=(invariance goldens group_of_one serve_64_streams)
  ((SANITIZERS == 0)) || names+=(sanitizer_memcheck sanitizer_racecheck)
  ((BENCHMARKS == 0)) || names+=(benchmarks)
  for name in "${names[@]}"; do skip "$name" "$reason"; done
fi
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
((FAILED == 0))
