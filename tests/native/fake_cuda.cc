// A CUDA driver that runs nothing and tells every call: one JSON object a line, to the file that
// FAKE_CUDA_LOG names or to standard output. A "cubin" is a text file, its first line "fake-cubin",
// each further one a kernel's name and its parameters, p a pointer and i an int32, such as "f
// ppip".
//
//   FAKE_CUDA_ARCH     architecture of each device, such as "80,90" (default 80)
//   FAKE_CUDA_CURRENT  the context that is current at first (default 0, none)
//   FAKE_CUDA_FAIL     FUNCTION=ERROR, such as "cuLaunchKernel=700"
//   FAKE_CUDA_MEMORY   1: pointers are host memory: copies copy, launches tell the first two bytes
//   of each
//
// A stream's lowest four bits are its device, whose context is 49152 more; stream 0 has the
// current.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr int kInvalidImage = 200, kInvalidContext = 201, kNotFound = 500;
const std::map<int, std::pair<const char*, const char*>> kErrors = {
    {kInvalidImage, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {kInvalidContext, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {kNotFound, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {700, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
};

using Word = uintptr_t;
struct Function {
  std::string name, parameters;
};
using Module = std::map<std::string, Function>;

thread_local std::vector<Word> contexts = [] {
  const char* current = std::getenv("FAKE_CUDA_CURRENT");
  return std::vector<Word>{current ? std::strtoull(current, nullptr, 0) : 0};
}();

void Tell(const std::string& call, const std::string& rest) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static FILE* const log = [] {
    const char* path = std::getenv("FAKE_CUDA_LOG");
    return path ? std::fopen(path, "a") : stdout;
  }();
  std::fprintf(log, "{\"call\": \"%s\", \"context\": %lu%s}\n", call.c_str(),
               static_cast<unsigned long>(contexts.back()), rest.c_str());
  std::fflush(log);
}

std::string Field(const char* name, int64_t value) {
  return std::string(", \"") + name + "\": " + std::to_string(value);
}

std::string Field(const char* name, const std::string& value) {
  return std::string(", \"") + name + "\": \"" + value + "\"";
}

template <class Numbers>
std::string List(const char* name, const Numbers& numbers) {
  std::string text;
  for (const auto number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return std::string(", \"") + name + "\": [" + text + "]";
}

// What FAKE_CUDA_FAIL wants of this function.
int Fate(const std::string& function) {
  const char* fail = std::getenv("FAKE_CUDA_FAIL");
  const std::string text = fail ? fail : "";
  return text.rfind(function + "=", 0) == 0 ? std::atoi(text.c_str() + function.size() + 1) : 0;
}

}  // namespace

#define FAIL_IF_ASKED \
  if (const int fate = Fate(__func__)) return fate

extern "C" {

int cuInit(unsigned) {
  FAIL_IF_ASKED;
  Tell("cuInit", "");
  return 0;
}

int cuGetErrorName(int error, const char** name) {
  const auto found = kErrors.find(error);
  if (found == kErrors.end()) return 1;
  *name = found->second.first;
  return 0;
}

int cuGetErrorString(int error, const char** text) {
  const auto found = kErrors.find(error);
  if (found == kErrors.end()) return 1;
  *text = found->second.second;
  return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  FAIL_IF_ASKED;
  const char* list = std::getenv("FAKE_CUDA_ARCH");
  std::istringstream archs(list ? list : "80");
  std::string arch;
  for (int i = 0; i <= device; ++i) std::getline(archs, arch, ',');
  const int number = std::atoi(arch.c_str());
  *value = attribute == 75   ? number / 10
           : attribute == 76 ? number % 10
           : attribute == 97 ? 101376
                             : -1;
  return 0;
}

int cuCtxGetCurrent(Word* context) {
  *context = contexts.back();
  return 0;
}

int cuCtxPushCurrent_v2(Word context) {
  contexts.push_back(context);
  Tell("cuCtxPushCurrent", "");
  return 0;
}

int cuCtxPopCurrent_v2(Word* context) {
  Tell("cuCtxPopCurrent", "");
  *context = contexts.back();
  contexts.pop_back();
  return 0;
}

int cuCtxGetDevice(int* device) {
  if (contexts.back() == 0) return kInvalidContext;
  *device = static_cast<int>(contexts.back() & 15);
  return 0;
}

int cuStreamGetCtx(Word stream, Word* context) {
  *context = stream ? 49152 + (stream & 15) : contexts.back();
  return *context ? 0 : kInvalidContext;
}

int cuModuleLoadData(Module** module, const void* image) {
  FAIL_IF_ASKED;
  if (contexts.back() == 0) return kInvalidContext;
  const std::string text = static_cast<const char*>(image);
  Tell("cuModuleLoadData", Field("bytes", static_cast<int64_t>(text.size())));
  std::istringstream lines(text);
  std::string name, parameters;
  if (!std::getline(lines, name) || name != "fake-cubin") return kInvalidImage;
  static std::list<Module> modules;
  *module = &modules.emplace_back();
  while (lines >> name >> parameters) (*module)->emplace(name, Function{name, parameters});
  return 0;
}

int cuModuleGetFunction(Function** function, Module* module, const char* name) {
  FAIL_IF_ASKED;
  const auto found = module->find(name);
  if (found == module->end()) return kNotFound;
  *function = &found->second;
  return 0;
}

int cuFuncSetAttribute(Function* function, int attribute, int value) {
  FAIL_IF_ASKED;
  Tell("cuFuncSetAttribute",
       Field("symbol", function->name) + Field("attribute", attribute) + Field("value", value));
  return 0;
}

int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes,
                         Word stream) {
  FAIL_IF_ASKED;
  Tell("cuMemcpyDtoDAsync",
       Field("bytes", static_cast<int64_t>(bytes)) + Field("stream", static_cast<int64_t>(stream)));
  if (std::getenv("FAKE_CUDA_MEMORY")) {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  }
  return 0;
}

int cuLaunchKernel(Function* function, unsigned x, unsigned y, unsigned z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, Word stream,
                   void** parameters, void** extra) {
  FAIL_IF_ASKED;
  if (contexts.back() == 0) return kInvalidContext;
  const bool readable = std::getenv("FAKE_CUDA_MEMORY") != nullptr;
  std::vector<int64_t> values;
  std::vector<unsigned> heads;
  for (size_t i = 0; i < function->parameters.size(); ++i) {
    const bool pointer = function->parameters[i] == 'p';
    values.push_back(pointer ? *static_cast<const int64_t*>(parameters[i])
                             : *static_cast<const int32_t*>(parameters[i]));
    uint16_t head = 0;
    if (readable && pointer && values.back() != 0) {
      std::memcpy(&head, reinterpret_cast<const void*>(values.back()), sizeof head);
    }
    heads.push_back(head);
  }
  Tell("cuLaunchKernel",
       Field("symbol", function->name) + List("grid", std::vector{x, y, z}) +
           List("block", std::vector{block_x, block_y, block_z}) + Field("shared", shared) +
           Field("stream", static_cast<int64_t>(stream)) + List("values", values) +
           Field("extra", extra != nullptr) + (readable ? List("heads", heads) : ""));
  return 0;
}

}  // extern "C"
