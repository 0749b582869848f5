// PosteriorSample on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

class CudaPosteriorSampleKernel : public CudaKernel {
 public:
  CudaPosteriorSampleKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, "PosteriorSample", "linear"), attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input raw(context, 0), x_t(context, 1), noise(context, 2);
    CheckPosteriorShapes(raw.shape, x_t.shape, noise.shape);
    const void* const x_prev = context.GetOutput(0, x_t.shape).GetTensorRawData();
    const int64_t batch = raw.shape[0], elements = raw.shape[1] * raw.shape[2] * raw.shape[3];
    if (batch * elements == 0) return;
    CudaScratch scratch(context);
    Run(context, scratch,
        {{"batch", batch},
         {"elements", elements},
         {"coef_x0", Bits(attributes_.coefficients.x0)},
         {"coef_xt", Bits(attributes_.coefficients.xt)},
         {"sigma", Bits(attributes_.coefficients.sigma)},
         {"squash", attributes_.tanh ? 1 : 0}},
        {{"x0_raw", raw.data}, {"x_t", x_t.data}, {"noise", noise.data}, {"x_prev", x_prev}});
  }

 private:
  PosteriorAttributes attributes_;
};

class CudaPosteriorSampleOp
    : public CudaOp<CudaPosteriorSampleOp, CudaPosteriorSampleKernel, PosteriorSampleOp> {
 public:
  using CudaOp::CudaOp;
};

}  // namespace ddgan
