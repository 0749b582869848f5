// AdaGN and AdaGNSilu on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

// Both run AdaGN's launches, whose kernels take the activation as an argument.
template <bool kSilu>
class CudaAdaGNKernel : public CudaKernel {
 public:
  CudaAdaGNKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaKernel(info, launcher, "AdaGN", "nchw"), attributes_(info, kSilu) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0), scale(context, 1), shift(context, 2);
    const AdaGNSizes sizes(attributes_, x.shape, scale.shape, shift.shape);
    const void* const y = context.GetOutput(0, x.shape).GetTensorRawData();
    if (sizes.batch * sizes.channels * sizes.pixels == 0) return;
    CudaScratch scratch(context);
    // The kernels know one number of rows for both styles.
    const size_t rows = sizes.scale_stride == 0 && sizes.shift_stride == 0 ? 1 : sizes.batch;
    const auto style = [&](const Input& input, size_t stride) -> const void* {
      if (rows == 1 || stride > 0) return input.data;
      return scratch.Repeat(input.data, sizes.channels * ElementBytes(), rows);
    };
    Run(context, scratch,
        {{"batch", sizes.batch},
         {"channels", sizes.channels},
         {"pixels", sizes.pixels},
         {"groups", sizes.groups},
         {"group_channels", sizes.GroupChannels()},
         {"group_elements", sizes.GroupSize()},
         {"style_rows", rows},
         {"epsilon", Bits(attributes_.epsilon)},
         {"activation", attributes_.silu ? 1 : 0}},
        {{"x", x.data},
         {"scale", style(scale, sizes.scale_stride)},
         {"shift", style(shift, sizes.shift_stride)},
         {"y", y}});
  }

 private:
  AdaGNAttributes attributes_;
};

// All tensors are of one type: the kernels are compiled so.
class CudaAdaGNOp : public CudaOp<CudaAdaGNOp, CudaAdaGNKernel<false>, AdaGNOp> {
 public:
  CudaAdaGNOp(const CudaLauncher& launcher, ONNXTensorElementDataType type)
      : CudaOp(launcher, type, type, type) {}
};

class CudaAdaGNSiluOp : public CudaOp<CudaAdaGNSiluOp, CudaAdaGNKernel<true>, AdaGNSiluOp> {
 public:
  CudaAdaGNSiluOp(const CudaLauncher& launcher, ONNXTensorElementDataType type)
      : CudaOp(launcher, type, type, type) {}
};

}  // namespace ddgan
