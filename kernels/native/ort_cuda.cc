#include "ort_cuda.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

namespace ddgan {
namespace {

cuda::Stream StreamOf(const Ort::KernelContext& context) {
  return static_cast<cuda::Stream>(context.GetGPUComputeStream());
}

const char* ElementName(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return "float16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
      return "bfloat16";
    default:
      return "float32";  // also where the first input is a seed
  }
}

}  // namespace

std::string CudaKernelsFolder(const OrtSessionOptions* options) {
  // The linker knows the library by the path it was loaded from, relative or not: read once, before
  // the process can have gone elsewhere.
  static const std::filesystem::path beside = [] {
    Dl_info library;
    const bool found = dladdr(reinterpret_cast<const void*>(&CudaKernelsFolder), &library) != 0;
    const std::filesystem::path path = found ? library.dli_fname : "";
    return std::filesystem::absolute(path.parent_path() / "cuda_kernels");
  }();
  const std::string entry =
      Ort::ConstSessionOptions(options).GetConfigEntryOrDefault("ddgan.cuda_kernels", "");
  if (!entry.empty()) return std::filesystem::absolute(entry).string();
  const char* const variable = std::getenv("DDGAN_CUDA_KERNELS");
  if (variable != nullptr && *variable != '\0') return std::filesystem::absolute(variable).string();
  return beside.string();
}

CudaScratch::CudaScratch(const Ort::KernelContext& context)
    : context_(context), where_(context.GetInput(0).GetTensorMemoryInfo()) {}

CudaScratch::~CudaScratch() {
  if (buffers_.empty()) return;
  OrtAllocator* allocator = nullptr;
  if (OrtStatusPtr status = Ort::GetApi().KernelContext_GetAllocator(context_.GetOrtKernelContext(),
                                                                     where_, &allocator)) {
    Ort::GetApi().ReleaseStatus(status);  // cannot be: the memory came from it
    return;
  }
  for (void* buffer : buffers_) allocator->Free(allocator, buffer);
  Ort::GetApi().ReleaseAllocator(allocator);
}

const void* CudaScratch::Allocate(size_t bytes) {
  void* buffer = nullptr;
  Ort::ThrowOnError(Ort::GetApi().KernelContext_GetScratchBuffer(context_.GetOrtKernelContext(),
                                                                 where_, bytes, &buffer));
  buffers_.push_back(buffer);
  return buffer;
}

const void* CudaScratch::Repeat(const void* row, size_t bytes, size_t rows) {
  return CudaLauncher::Repeat(row, bytes, rows, StreamOf(context_),
                              [&](size_t all) { return Allocate(all); });
}

CudaKernel::CudaKernel(const OrtKernelInfo* info, const CudaLauncher& launcher, const char* op,
                       const char* layout)
    : launcher_(launcher),
      type_(Ort::ConstKernelInfo(info)
                .GetInputTypeInfo(0)
                .GetTensorTypeAndShapeInfo()
                .GetElementType()),
      variant_(std::string(op) + " " + layout + " " + ElementName(type_)) {
  launcher_.Index();
}

void CudaKernel::Run(const Ort::KernelContext& context, CudaScratch& scratch, const Sizes& sizes,
                     const CudaLauncher::Tensors& tensors) const {
  launcher_.Run(variant_, sizes, tensors, StreamOf(context),
                [&](size_t bytes) { return scratch.Allocate(bytes); });
}

}  // namespace ddgan
