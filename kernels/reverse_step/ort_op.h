// ReverseStep and ReverseMean on ONNX Runtime's CPU provider.
#pragma once

#include <cstring>

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

template <bool kNoise>
class CpuReverseKernel {
 public:
  explicit CpuReverseKernel(const OrtKernelInfo*) {}

  void Compute(const Ort::KernelContext& context) const {
    const ReverseInputs<kNoise> in(context);
    float* x_prev = context.GetOutput(0, in.x.shape).template GetTensorMutableData<float>();
    ReverseCoefficients coefficients;
    static_assert(sizeof coefficients == kReverseCoefficients * sizeof(float));
    std::memcpy(&coefficients, in.coefficients.data, sizeof coefficients);
    const auto step = SelectedKernels().reverse[static_cast<int>(in.out.type)][kNoise];
    size_t count = 1;
    for (const int64_t extent : in.out.shape) count *= static_cast<size_t>(extent);
    ParallelRanges(context, count, 1, [&](size_t first, size_t last) {
      step(in.out.data + first * in.out.Bytes(),
           reinterpret_cast<const float*>(in.x.data) + first,
           reinterpret_cast<const float*>(in.noise.data) + first, x_prev + first, last - first,
           coefficients);
    });
  }
};

class CpuReverseStepOp : public ReverseStepOp<CpuReverseStepOp, CpuReverseKernel<true>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using ReverseStepOp::ReverseStepOp;
};

class CpuReverseMeanOp : public ReverseMeanOp<CpuReverseMeanOp, CpuReverseKernel<false>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using ReverseMeanOp::ReverseMeanOp;
};

}  // namespace ddgan
