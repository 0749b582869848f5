// Compiles only if our declarations of the CUDA driver are those of its own header.
#include <cuda.h>

#include <type_traits>

#include "cuda_driver.h"

namespace {

// We declare an enumeration of the driver as an int, or as one of fewer values.
template <class T>
struct Plain {
  using Type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <class T>
struct Plain<T*> {
  using Type = typename Plain<T>::Type*;
};
template <class Result, class... Arguments>
struct Plain<Result (*)(Arguments...)> {
  using Type = typename Plain<Result>::Type (*)(typename Plain<Arguments>::Type...);
};
template <class A, class B>
constexpr bool kSame = std::is_same_v<typename Plain<A>::Type, typename Plain<B>::Type>;

// Expands the header's own renaming before the name is used, so cuMemcpyDtoDAsync must become
// cuMemcpyDtoDAsync_v2.
#define DDGAN_COMPARE(name, ...) \
  static_assert(kSame<decltype(&::name), decltype(ddgan::cuda::Driver::name)>, #name);
DDGAN_CUDA_FUNCTIONS(DDGAN_COMPARE)

#define DDGAN_TEXT(name) #name
#define DDGAN_RENAMED(name) DDGAN_TEXT(name)
constexpr bool Equal(const char* a, const char* b) {
  return *a == *b && (*a == '\0' || Equal(a + 1, b + 1));
}
static_assert(Equal(DDGAN_RENAMED(cuCtxPushCurrent), "cuCtxPushCurrent_v2"));
static_assert(Equal(DDGAN_RENAMED(cuCtxPopCurrent), "cuCtxPopCurrent_v2"));
static_assert(Equal(DDGAN_RENAMED(cuMemcpyDtoDAsync), "cuMemcpyDtoDAsync_v2"));
// These are not renamed, or our names would be of another version.
static_assert(Equal(DDGAN_RENAMED(cuCtxGetDevice), "cuCtxGetDevice"));
static_assert(Equal(DDGAN_RENAMED(cuStreamGetCtx), "cuStreamGetCtx"));
static_assert(Equal(DDGAN_RENAMED(cuLaunchKernel), "cuLaunchKernel"));

static_assert(ddgan::cuda::kMajor == int{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR});
static_assert(ddgan::cuda::kMinor == int{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR});
static_assert(ddgan::cuda::kMostSharedBytesABlock ==
              int{CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN});
static_assert(ddgan::cuda::kMostDynamicSharedBytes ==
              int{CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES});

}  // namespace
