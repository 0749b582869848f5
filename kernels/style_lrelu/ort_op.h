// StyleLrelu on ONNX Runtime's CPU provider.
#pragma once

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

class CpuStyleLreluKernel {
 public:
  explicit CpuStyleLreluKernel(const OrtKernelInfo* info)
      : alpha_(Attributes("StyleLrelu", info).Get<float>("alpha")) {}

  void Compute(const Ort::KernelContext& context) const {
    const StyleLreluInputs in(context);
    auto* y = static_cast<char*>(context.GetOutput(0, in.x.shape).GetTensorMutableRawData());
    const auto run = SelectedKernels().style_lrelu[static_cast<int>(in.x.type)][in.has_picture];
    const auto* scale = reinterpret_cast<const float*>(in.scale.data);
    const auto* bias = reinterpret_cast<const float*>(in.bias.data);
    const auto* noise = reinterpret_cast<const float*>(in.noise.data);
    const float limit = *reinterpret_cast<const float*>(in.limit.data);
    const size_t bytes = in.pixels * in.x.Bytes();
    if (in.pixels == 0) return;
    ParallelRanges(context, in.batch * in.planes, in.pixels, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        const StyleLreluPlane plane{scale[i], bias[i % in.planes], alpha_, limit};
        run(in.x.data + i * bytes, noise + i / in.planes * in.noise_stride, y + i * bytes, in.pixels,
            plane);
      }
    });
  }

 private:
  float alpha_;
};

class CpuStyleLreluOp : public StyleLreluOp<CpuStyleLreluOp, CpuStyleLreluKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
  using StyleLreluOp::StyleLreluOp;
};

}  // namespace ddgan
