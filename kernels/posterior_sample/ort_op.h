// PosteriorSample on ONNX Runtime's CPU provider.
#pragma once

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

class CpuPosteriorSampleKernel {
 public:
  explicit CpuPosteriorSampleKernel(const OrtKernelInfo* info) : attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input raw(context, 0), x_t(context, 1), noise(context, 2);
    CheckPosteriorShapes(raw.shape, x_t.shape, noise.shape);
    float* x_prev = context.GetOutput(0, x_t.shape).GetTensorMutableData<float>();
    const auto draw = SelectedKernels().posterior[static_cast<int>(raw.type)][attributes_.tanh];
    size_t count = 1;
    for (const int64_t extent : raw.shape) count *= static_cast<size_t>(extent);
    ParallelRanges(context, count, 1, [&](size_t first, size_t last) {
      draw(raw.data + first * raw.Bytes(), reinterpret_cast<const float*>(x_t.data) + first,
           reinterpret_cast<const float*>(noise.data) + first, x_prev + first, last - first,
           attributes_.coefficients);
    });
  }

 private:
  PosteriorAttributes attributes_;
};

class CpuPosteriorSampleOp
    : public PosteriorSampleOp<CpuPosteriorSampleOp, CpuPosteriorSampleKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
  using PosteriorSampleOp::PosteriorSampleOp;
};

}  // namespace ddgan
