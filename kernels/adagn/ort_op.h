// AdaGN and AdaGNSilu on ONNX Runtime's CPU provider.
#pragma once

#include "../native/isa.h"
#include "groups.h"

namespace ddgan {

template <bool kSilu>
class CpuAdaGNKernel {
 public:
  explicit CpuAdaGNKernel(const OrtKernelInfo* info) : attributes_(info, kSilu) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0), scale(context, 1), shift(context, 2);
    const AdaGNSizes sizes(attributes_, x.shape, scale.shape, shift.shape);
    const AdaGNGroups groups{attributes_, sizes, SelectedKernels(), x, scale, shift};
    auto* const y = static_cast<char*>(context.GetOutput(0, x.shape).GetTensorMutableRawData());
    const auto run = groups.kernels.normalize[static_cast<int>(x.type)][attributes_.silu];
    const auto normalize = [&](size_t unit, const Normalization& n, size_t begin, size_t end) {
      groups.ForRows(unit, n, begin, end,
                     [&](size_t offset, size_t rows, size_t length, const float* gain,
                         const float* bias) {
                       run(x.data + offset, y + offset, rows, length, n.center, gain, bias);
                     });
    };
    if (groups.Split()) {
      const auto all = groups.Normalizations(context);
      groups.ForChunks(context, [&](size_t unit, size_t begin, size_t end) {
        normalize(unit, all[unit], begin, end);
      });
    } else {
      groups.ForUnits(context, [&](size_t unit) {
        normalize(unit, groups.NormalizationOf(unit), 0, sizes.GroupSize());
      });
    }
  }

 private:
  AdaGNAttributes attributes_;
};

class CpuAdaGNOp : public AdaGNOp<CpuAdaGNOp, CpuAdaGNKernel<false>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using AdaGNOp::AdaGNOp;
};

class CpuAdaGNSiluOp : public AdaGNSiluOp<CpuAdaGNSiluOp, CpuAdaGNKernel<true>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using AdaGNSiluOp::AdaGNSiluOp;
};

}  // namespace ddgan
