// What nvml_types.h says of the management library is what its own header says.
#include <gtest/gtest.h>

#include "backends/cuda/nvml_types.h"

#if __has_include(<nvml.h>)
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>

#include <cstddef>
#include <type_traits>

namespace inferd {
namespace {

static_assert(kNvmlSuccess == NVML_SUCCESS);
static_assert(kNvmlTemperatureOfChip == NVML_TEMPERATURE_GPU);
static_assert(sizeof(NvmlUtilization) == sizeof(nvmlUtilization_t));
static_assert(offsetof(NvmlUtilization, gpu) == offsetof(nvmlUtilization_t, gpu));
static_assert(offsetof(NvmlUtilization, memory) == offsetof(nvmlUtilization_t, memory));
static_assert(sizeof(NvmlMemory) == sizeof(nvmlMemory_t));
static_assert(offsetof(NvmlMemory, total) == offsetof(nvmlMemory_t, total));
static_assert(offsetof(NvmlMemory, free) == offsetof(nvmlMemory_t, free));
static_assert(offsetof(NvmlMemory, used) == offsetof(nvmlMemory_t, used));
static_assert(std::is_same_v<decltype(NvmlMemory::used), decltype(nvmlMemory_t::used)>);

// Passed alike: pointers of one kind (to a number, a struct, a handle), or numbers of one size,
// which enumerations are here.
template <class Ours, class Theirs>
constexpr bool SameParameter() {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using OurTarget = std::remove_pointer_t<Ours>;
    using TheirTarget = std::remove_pointer_t<Theirs>;
    if constexpr (std::is_void_v<OurTarget>) {
      return true;  // a handle: what it points to is not known to us
    } else {
      return sizeof(OurTarget) == sizeof(TheirTarget) &&
             std::is_const_v<OurTarget> == std::is_const_v<TheirTarget> &&
             std::is_pointer_v<OurTarget> == std::is_pointer_v<TheirTarget>;
    }
  } else {
    return sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;
  }
}

template <class Ours, class Theirs>
struct SameFunction : std::false_type {};
template <class OurResult, class... Ours, class TheirResult, class... Theirs>
requires(sizeof...(Ours) ==
         sizeof...(Theirs)) struct SameFunction<OurResult (*)(Ours...), TheirResult(Theirs...)>
    : std::bool_constant<sizeof(OurResult) == sizeof(TheirResult) &&
                         (SameParameter<Ours, Theirs>() && ...)> {
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
using F = NvmlFunctions;
static_assert(SameFunction<decltype(F::init), decltype(nvmlInit_v2)>());
static_assert(SameFunction<decltype(F::shutdown), decltype(nvmlShutdown)>());
static_assert(SameFunction<decltype(F::by_bus_id), decltype(nvmlDeviceGetHandleByPciBusId_v2)>());
static_assert(SameFunction<decltype(F::utilization), decltype(nvmlDeviceGetUtilizationRates)>());
static_assert(SameFunction<decltype(F::memory), decltype(nvmlDeviceGetMemoryInfo)>());
static_assert(SameFunction<decltype(F::temperature), decltype(nvmlDeviceGetTemperature)>());
static_assert(SameFunction<decltype(F::power), decltype(nvmlDeviceGetPowerUsage)>());
// The comparison can fail.
static_assert(!SameFunction<decltype(F::power), decltype(nvmlDeviceGetMemoryInfo)>());
static_assert(!SameFunction<decltype(F::power), decltype(nvmlDeviceGetTemperature)>());
#pragma GCC diagnostic pop

TEST(NvmlHeaderTest, DeclarationsAreThoseOfItsHeader) { EXPECT_GE(NVML_API_VERSION, 12); }

}  // namespace
}  // namespace inferd
#else
TEST(NvmlHeaderTest, DeclarationsAreThoseOfItsHeader) { GTEST_SKIP() << "no nvml.h"; }
#endif
