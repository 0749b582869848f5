// ReverseStep and ReverseMean on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

template <bool kNoise>
class CudaReverseKernel : public CudaKernel {
 public:
  CudaReverseKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, ReverseInputs<kNoise>::kOp, "linear") {}

  void Compute(const Ort::KernelContext& context) const {
    const ReverseInputs<kNoise> in(context);
    const void* const x_prev = context.GetOutput(0, in.x.shape).GetTensorRawData();
    const Shape& shape = in.out.shape;
    const int64_t batch = shape[0], elements = shape[1] * shape[2] * shape[3];
    if (batch * elements == 0) return;
    CudaScratch scratch(context);
    CudaLauncher::Tensors tensors = {{"out", in.out.data},
                                     {"x", in.x.data},
                                     {"coefficients", in.coefficients.data},
                                     {"x_prev", x_prev}};
    if (kNoise) tensors.emplace_back("noise", in.noise.data);
    Run(context, scratch, {{"batch", batch}, {"elements", elements}}, tensors);
  }
};

class CudaReverseStepOp
    : public CudaOp<CudaReverseStepOp, CudaReverseKernel<true>, ReverseStepOp> {
 public:
  using CudaOp::CudaOp;
};

class CudaReverseMeanOp
    : public CudaOp<CudaReverseMeanOp, CudaReverseKernel<false>, ReverseMeanOp> {
 public:
  using CudaOp::CudaOp;
};

}  // namespace ddgan
