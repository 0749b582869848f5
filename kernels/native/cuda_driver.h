// The part of the CUDA driver API that launches compiled kernels. The driver is opened at its first
// use, so a program without one can load this library, and no CUDA header is needed to build it.
#pragma once

#include <cstddef>
#include <cstdint>

// Opaque in the driver's own header too.
struct CUctx_st;
struct CUfunc_st;
struct CUmod_st;
struct CUstream_st;

namespace ddgan::cuda {

// Types and numbers of the driver's ABI.
using Context = CUctx_st*;
using Device = int;
using DevicePointer = unsigned long long;
using Function = CUfunc_st*;
using Module = CUmod_st*;
using Result = int;
using Stream = CUstream_st*;

enum DeviceAttribute : int { kMajor = 75, kMinor = 76, kMostSharedBytesABlock = 97 };
enum FunctionAttribute : int { kMostDynamicSharedBytes = 8 };

// Every function that is used: name, then its parameters. A name ends in _v2 where the driver's
// header renames it so, which is the form that has 64-bit pointers.
#define DDGAN_CUDA_FUNCTIONS(FUNCTION)                                                           \
  FUNCTION(cuInit, unsigned flags)                                                               \
  FUNCTION(cuGetErrorName, Result error, const char** name)                                      \
  FUNCTION(cuGetErrorString, Result error, const char** text)                                    \
  FUNCTION(cuDeviceGetAttribute, int* value, DeviceAttribute attribute, Device device)           \
  FUNCTION(cuCtxGetCurrent, Context* context)                                                    \
  FUNCTION(cuCtxPushCurrent_v2, Context context)                                                 \
  FUNCTION(cuCtxPopCurrent_v2, Context* context)                                                 \
  FUNCTION(cuCtxGetDevice, Device* device)                                                       \
  FUNCTION(cuStreamGetCtx, Stream stream, Context* context)                                      \
  FUNCTION(cuModuleLoadData, Module* module, const void* image)                                  \
  FUNCTION(cuModuleGetFunction, Function* function, Module module, const char* name)             \
  FUNCTION(cuFuncSetAttribute, Function function, FunctionAttribute attribute, int value)        \
  FUNCTION(cuMemcpyDtoDAsync_v2, DevicePointer to, DevicePointer from, size_t bytes,             \
           Stream stream)                                                                        \
  FUNCTION(cuLaunchKernel, Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, \
           unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,          \
           Stream stream, void** parameters, void** extra)

// The driver's functions, as members of their own names.
class Driver {
 public:
  // The process's driver, opened and initialized at the first call; safe from any thread.
  //
  // Throws std::runtime_error: there is no driver, it is too old, or it does not initialize.
  static const Driver& Get();

#define DDGAN_DECLARE(name, ...) Result (*name)(__VA_ARGS__);
  DDGAN_CUDA_FUNCTIONS(DDGAN_DECLARE)
#undef DDGAN_DECLARE

  // Throws std::runtime_error with the error's name, unless `result` is success; `action` says
  // what was tried, such as "launching adagn_fused_nchw", with `object` its last word or none.
  void Check(Result result, const char* action, const char* object = "") const;

 private:
  Driver();
};

// Makes a stream's context the calling thread's current one for as long as this lives: ONNX Runtime
// may call from a thread that has none.
class CurrentContext {
 public:
  explicit CurrentContext(Stream stream);
  ~CurrentContext();
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

  Context get() const { return context_; }

 private:
  Context context_ = nullptr;
  bool pushed_ = false;
};

}  // namespace ddgan::cuda
