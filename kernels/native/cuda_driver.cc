#include "cuda_driver.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace ddgan::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

template <class Function>
void Load(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) {
    throw std::runtime_error(std::string("CUDA: ") + kLibrary + " has no " + name +
                             ": update the NVIDIA driver");
  }
}

}  // namespace

const Driver& Driver::Get() {
  // A failed construction is tried again at the next call. Never closed: contexts outlive us.
  static const Driver driver;
  return driver;
}

Driver::Driver() {
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(
        std::string("CUDA: the NVIDIA driver cannot be opened, is one installed? ") + dlerror());
  }
#define DDGAN_LOAD(name, ...) Load(library, #name, &name);
  DDGAN_CUDA_FUNCTIONS(DDGAN_LOAD)
#undef DDGAN_LOAD
  Check(cuInit(0), "initializing the driver");
}

void Driver::Check(Result result, const char* action, const char* object) const {
  if (result == 0) return;
  // Both leave the pointer null where they do not know the error.
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  throw std::runtime_error("CUDA: " + (name ? name : "error " + std::to_string(result)) +
                           " while " + action + (*object ? " " : "") + object +
                           (text ? std::string(": ") + text : ""));
}

CurrentContext::CurrentContext(Stream stream) {
  const Driver& driver = Driver::Get();
  driver.Check(driver.cuStreamGetCtx(stream, &context_), "asking for the stream's context");
  Context current = nullptr;
  driver.Check(driver.cuCtxGetCurrent(&current), "asking for the current context");
  if (current == context_) return;
  driver.Check(driver.cuCtxPushCurrent_v2(context_), "entering the stream's context");
  pushed_ = true;
}

CurrentContext::~CurrentContext() {
  Context popped;
  if (pushed_) Driver::Get().cuCtxPopCurrent_v2(&popped);
}

}  // namespace ddgan::cuda
