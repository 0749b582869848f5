// AdaGN and AdaGNSilu on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

// Scale and shift with as many rows as each other, which is what the kernels know.
struct CudaStyles {
  CudaStyles(CudaScratch& scratch, const AdaGNSizes& sizes, const Input& scale, const Input& shift,
             size_t element_bytes)
      : rows(sizes.scale_stride == 0 && sizes.shift_stride == 0 ? 1 : sizes.batch) {
    const auto style = [&](const Input& input, size_t stride) -> const void* {
      if (rows == 1 || stride > 0) return input.data;
      return scratch.Repeat(input.data, sizes.channels * element_bytes, rows);
    };
    this->scale = style(scale, sizes.scale_stride);
    this->shift = style(shift, sizes.shift_stride);
  }

  size_t rows;
  const void *scale, *shift;
};

// What `sizes` of launches.py makes of them.
inline Sizes AdaGNLaunchSizes(const AdaGNAttributes& attributes, const AdaGNSizes& sizes,
                              size_t style_rows) {
  return {{"batch", sizes.batch},
          {"channels", sizes.channels},
          {"pixels", sizes.pixels},
          {"groups", sizes.groups},
          {"group_channels", sizes.GroupChannels()},
          {"group_elements", sizes.GroupSize()},
          {"style_rows", style_rows},
          {"epsilon", Bits(attributes.epsilon)},
          {"activation", attributes.silu ? 1 : 0}};
}

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
    const CudaStyles styles(scratch, sizes, scale, shift, ElementBytes());
    Run(context, scratch, AdaGNLaunchSizes(attributes_, sizes, styles.rows),
        {{"x", x.data}, {"scale", styles.scale}, {"shift", styles.shift}, {"y", y}});
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
