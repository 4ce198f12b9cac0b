// What nccl_api.h says of NCCL is what NCCL's own header says.
#include <gtest/gtest.h>

#include "backends/cuda/nccl_api.h"

#if __has_include(<nccl.h>)
#include <nccl.h>

namespace inferd::nccl {
namespace {

template <class Ours, class Theirs>
constexpr bool Same(Ours ours, Theirs theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}

static_assert(Same(Result::kSuccess, ncclSuccess));
static_assert(Same(Result::kUnhandledCudaError, ncclUnhandledCudaError));
static_assert(Same(Result::kSystemError, ncclSystemError));
static_assert(Same(Result::kInternalError, ncclInternalError));
static_assert(Same(Result::kInvalidArgument, ncclInvalidArgument));
static_assert(Same(Result::kInvalidUsage, ncclInvalidUsage));
static_assert(Same(Result::kRemoteError, ncclRemoteError));
static_assert(Same(Result::kInProgress, ncclInProgress));
static_assert(Same(Type::kUint8, ncclUint8));
static_assert(Same(Type::kFloat32, ncclFloat32));
static_assert(Same(Type::kBfloat16, ncclBfloat16));
static_assert(Same(Reduction::kSum, ncclSum));
static_assert(kSymmetricWindow == NCCL_WIN_COLL_SYMMETRIC);
static_assert(sizeof(Result) == sizeof(ncclResult_t));
static_assert(sizeof(Type) == sizeof(ncclDataType_t));
static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));
static_assert(offsetof(Config, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(Config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(Config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(Config, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(Config, reserved) == offsetof(ncclConfig_t, cgaClusterSize));

TEST(NcclHeaderTest, TheConfigurationIsOneThatLaterVersionsTake) {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const Config ours;
  EXPECT_EQ(ours.magic, theirs.magic);
  EXPECT_EQ(ours.reserved, theirs.cgaClusterSize);
  EXPECT_LE(ours.size, theirs.size);
  EXPECT_LE(ours.version, theirs.version);
  EXPECT_EQ(ours.version, static_cast<unsigned>(NCCL_VERSION(2, 14, 0)));
}

}  // namespace
}  // namespace inferd::nccl
#else
TEST(NcclHeaderTest, TheConfigurationIsOneThatLaterVersionsTake) { GTEST_SKIP() << "no nccl.h"; }
#endif
