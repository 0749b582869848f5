// StyleLrelu on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

class CudaStyleLreluKernel : public CudaKernel {
 public:
  CudaStyleLreluKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, "StyleLrelu", "nchw"),
        alpha_(Attributes("StyleLrelu", info).Get<float>("alpha")) {}

  void Compute(const Ort::KernelContext& context) const {
    const StyleLreluInputs in(context);
    const void* const y = context.GetOutput(0, in.x.shape).GetTensorRawData();
    if (in.batch * in.planes * in.pixels == 0) return;
    CudaScratch scratch(context);
    Run(context, scratch,
        {{"batch", in.batch},
         {"elements", in.planes * in.pixels},
         {"channels", in.planes},
         {"pixels", in.pixels},
         {"noise_rows", in.noise.shape[0]},
         {"noise_pixels", in.noise.shape[2] * in.noise.shape[3]},
         {"alpha", Bits(alpha_)}},
        {{"x", in.x.data},
         {"scale", in.scale.data},
         {"noise", in.noise.data},
         {"bias", in.bias.data},
         {"limit", in.limit.data},
         {"y", y}});
  }

 private:
  float alpha_;
};

class CudaStyleLreluOp : public CudaOp<CudaStyleLreluOp, CudaStyleLreluKernel, StyleLreluOp> {
 public:
  using CudaOp::CudaOp;
};

}  // namespace ddgan
