// PhiloxNormal on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

class CudaPhiloxNormalKernel : public CudaKernel {
 public:
  CudaPhiloxNormalKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, "PhiloxNormal", "linear"), attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input seed(context, 0);
    CheckSeedShape(seed.shape);
    Shape shape = attributes_.shape;
    shape.insert(shape.begin(), seed.shape[0]);
    const void* const noise = context.GetOutput(0, shape).GetTensorRawData();
    const int64_t elements = static_cast<int64_t>(attributes_.count);
    if (seed.shape[0] * elements == 0) return;
    CudaScratch scratch(context);
    Run(context, scratch,
        {{"batch", seed.shape[0]}, {"elements", elements}, {"stream", Bits(attributes_.stream)}},
        {{"seed", seed.data}, {"noise", noise}});
  }

 private:
  PhiloxAttributes attributes_;
};

class CudaPhiloxNormalOp
    : public CudaOp<CudaPhiloxNormalOp, CudaPhiloxNormalKernel, PhiloxNormalOp> {
 public:
  using CudaOp::CudaOp;
};

}  // namespace ddgan
