// AdaGNGrad and AdaGNSiluGrad on ONNX Runtime's CPU provider.
#pragma once

#include "../adagn/groups.h"
#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

template <bool kSilu>
class CpuAdaGNGradKernel {
 public:
  explicit CpuAdaGNGradKernel(const OrtKernelInfo* info) : attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const AdaGNGradInputs in(attributes_, context);
    const AdaGNGroups groups{attributes_, in.sizes, SelectedKernels(), in.x, in.scale, in.shift};
    auto* const dx = static_cast<char*>(context.GetOutput(0, in.x.shape).GetTensorMutableRawData());
    const Work work{groups, in.dy.data, dx};
    if (groups.Split()) {
      const auto all = groups.Normalizations(context);
      const auto sums = groups.template OfUnits<GradientSums>(
          context, [&](size_t unit, size_t begin, size_t end) {
            return work.Sums(unit, all[unit], begin, end);
          });
      groups.ForChunks(context, [&](size_t unit, size_t begin, size_t end) {
        work.Apply(unit, all[unit], sums[unit], begin, end);
      });
    } else {
      groups.ForUnits(context, [&](size_t unit) {
        const Normalization n = groups.NormalizationOf(unit);
        const auto sums = groups.template OfUnit<GradientSums>(
            unit, [&](size_t, size_t begin, size_t end) { return work.Sums(unit, n, begin, end); });
        work.Apply(unit, n, sums, 0, in.sizes.GroupSize());
      });
    }
  }

 private:
  // Elements [begin, end) of a unit; see cpu.h.
  struct Work {
    GradientSums Sums(size_t unit, const Normalization& n, size_t begin, size_t end) const {
      const auto run = groups.kernels.gradient_sums[static_cast<int>(groups.x.type)][kSilu];
      GradientSums total;
      groups.ForRows(unit, n, begin, end,
                     [&](size_t offset, size_t rows, size_t length, const float* gain,
                         const float* bias) {
                       total = Merge(total, run(dy + offset, groups.x.data + offset, rows, length,
                                                n.center, gain, bias));
                     });
      return total;
    }

    // dx = v - mean(v) - (c - rest) k, with k = r^2 mean(v (c - rest)).
    void Apply(size_t unit, const Normalization& n, const GradientSums& sums, size_t begin,
               size_t end) const {
      const auto run = groups.kernels.gradient[static_cast<int>(groups.x.type)][kSilu];
      const double count = static_cast<double>(groups.sizes.GroupSize());
      const double mean_v = sums.v / count, r = n.inverse_std;
      const double k = r * r * (sums.vc / count - n.rest * mean_v);
      const auto slope = static_cast<float>(-k);
      const auto shift = static_cast<float>(n.rest * k - mean_v);
      groups.ForRows(unit, n, begin, end,
                     [&](size_t offset, size_t rows, size_t length, const float* gain,
                         const float* bias) {
                       run(dy + offset, groups.x.data + offset, dx + offset, rows, length, n.center,
                           gain, bias, slope, shift);
                     });
    }

    const AdaGNGroups& groups;
    const char* dy;
    char* dx;
  };

  AdaGNGradAttributes<kSilu> attributes_;
};

class CpuAdaGNGradOp : public AdaGNGradOp<CpuAdaGNGradOp, CpuAdaGNGradKernel<false>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using AdaGNGradOp::AdaGNGradOp;
};

class CpuAdaGNSiluGradOp : public AdaGNSiluGradOp<CpuAdaGNSiluGradOp, CpuAdaGNGradKernel<true>> {
 public:
  static constexpr const char* kProvider = nullptr;
  using AdaGNSiluGradOp::AdaGNSiluGradOp;
};

}  // namespace ddgan
