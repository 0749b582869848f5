// AdaGNGrad and AdaGNSiluGrad on ONNX Runtime's CUDA provider.
#pragma once

#include "../adagn/ort_cuda_op.h"
#include "ort_schema.h"

namespace ddgan {

// Both run AdaGNGrad's launches, whose kernels take the activation as an argument.
template <bool kSilu>
class CudaAdaGNGradKernel : public CudaKernel {
 public:
  CudaAdaGNGradKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, "AdaGNGrad", "nchw"), attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const AdaGNGradInputs in(attributes_, context);
    const void* const dx = context.GetOutput(0, in.x.shape).GetTensorRawData();
    if (in.sizes.batch * in.sizes.channels * in.sizes.pixels == 0) return;
    CudaScratch scratch(context);
    const CudaStyles styles(scratch, in.sizes, in.scale, in.shift, ElementBytes());
    Run(context, scratch, AdaGNLaunchSizes(attributes_, in.sizes, styles.rows),
        {{"dy", in.dy.data},
         {"x", in.x.data},
         {"scale", styles.scale},
         {"shift", styles.shift},
         {"dx", dx}});
  }

 private:
  AdaGNGradAttributes<kSilu> attributes_;
};

// All tensors are of one type: the kernels are compiled so.
class CudaAdaGNGradOp : public CudaOp<CudaAdaGNGradOp, CudaAdaGNGradKernel<false>, AdaGNGradOp> {
 public:
  CudaAdaGNGradOp(const CudaLauncher& launcher, ONNXTensorElementDataType type)
      : CudaOp(launcher, type, type) {}
};

class CudaAdaGNSiluGradOp
    : public CudaOp<CudaAdaGNSiluGradOp, CudaAdaGNGradKernel<true>, AdaGNSiluGradOp> {
 public:
  CudaAdaGNSiluGradOp(const CudaLauncher& launcher, ONNXTensorElementDataType type)
      : CudaOp(launcher, type, type) {}
};

}  // namespace ddgan
