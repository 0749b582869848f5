// What the ONNX Runtime ops of the CUDA provider share.
#pragma once

#include <bit>
#include <concepts>
#include <string>
#include <vector>

#include "cuda_launcher.h"
#include "ort_support.h"

namespace ddgan {

// The folder of compiled kernels for a session: what its config entry ddgan.cuda_kernels names, or
// else the environment variable DDGAN_CUDA_KERNELS, or else cuda_kernels beside this library.
// Absolute: kernels are read when they first run, wherever the process is by then.
std::string CudaKernelsFolder(const OrtSessionOptions* options);

// Scratch memory of one call, from the allocator and for the stream of the call's own tensors.
//
// It is handed back when the kernels are queued, not when they have run, as ONNX Runtime's own CUDA
// ops do: until the stream has passed, the allocator gives it to nobody but later work on the same
// stream.
class CudaScratch {
 public:
  explicit CudaScratch(const Ort::KernelContext& context);
  ~CudaScratch();
  CudaScratch(const CudaScratch&) = delete;
  CudaScratch& operator=(const CudaScratch&) = delete;

  const void* Allocate(size_t bytes);

  // `rows` copies of the `bytes` at `row`, one after another.
  const void* Repeat(const void* row, size_t bytes, size_t rows);

 private:
  const Ort::KernelContext& context_;
  const OrtMemoryInfo* where_;
  std::vector<void*> buffers_;
};

// What every kernel derives from: an op's launches for the element type of its first input.
class CudaKernel {
 public:
  // Throws std::runtime_error: there are no compiled kernels. So a session does not open without.
  CudaKernel(const OrtKernelInfo* info, const CudaLauncher& launcher, const char* op,
             const char* layout);

 protected:
  void Run(const Ort::KernelContext& context, CudaScratch& scratch, const Sizes& sizes,
           const CudaLauncher::Tensors& tensors) const;

  size_t ElementBytes() const { return type_ == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? 4 : 2; }

 private:
  const CudaLauncher& launcher_;
  ONNXTensorElementDataType type_;
  std::string variant_;
};

// The bits of a float32 or an unsigned number, as the kernels take them.
template <class Number>
int64_t Bits(Number number) {
  return std::bit_cast<int32_t>(number);
}

// A CUDA kernel is made with the launcher of its op's session too.
template <class Kernel>
  requires std::derived_from<Kernel, CudaKernel>
class GuardedKernel<Kernel> {
 public:
  GuardedKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : kernel_(info, launcher) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* context) const noexcept {
    return Guarded([&] { kernel_.Compute(Ort::KernelContext(context)); });
  }

 private:
  Kernel kernel_;
};

// Makes an op one of the CUDA provider. Schema is the op's own, such as AdaGNOp; `types` are its
// arguments.
template <class Op, class Kernel, template <class, class> class Schema>
class CudaOp : public Schema<Op, Kernel> {
 public:
  static constexpr const char* kProvider = "CUDAExecutionProvider";

  // `launcher` must outlive the op.
  template <class... Types>
  explicit CudaOp(const CudaLauncher& launcher, Types... types)
      : Schema<Op, Kernel>(types...), launcher_(launcher) {}

  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info,
                              void** kernel) const noexcept {
    return Guarded([&] { *kernel = new GuardedKernel<Kernel>(info, launcher_); });
  }

 private:
  const CudaLauncher& launcher_;
};

}  // namespace ddgan
