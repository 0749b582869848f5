// AdaGN and AdaGNSilu on ONNX Runtime's CPU provider.
#pragma once

#include <cmath>
#include <thread>

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

template <bool kSilu>
class CpuAdaGNKernel {
 public:
  explicit CpuAdaGNKernel(const OrtKernelInfo* info) : attributes_(info, kSilu) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0), scale(context, 1), shift(context, 2);
    const AdaGNSizes sizes(attributes_, x.shape, scale.shape, shift.shape);
    char* y = static_cast<char*>(context.GetOutput(0, x.shape).GetTensorMutableRawData());
    const Work work{attributes_, sizes, SelectedKernels(), x, scale, shift, y};
    const size_t units = sizes.batch * sizes.groups;
    // Where there are fewer groups than processors, each group is split too: the result is the
    // same, but the second reading may come from another processor's cache.
    // The number of processors is asked last: the C library opens a file for it each time.
    if (sizes.GroupSize() > kChunk && units < std::thread::hardware_concurrency()) {
      work.RunInChunks(context, units);
    } else {
      ParallelRanges(context, units, sizes.GroupSize(), [&](size_t first, size_t last) {
        for (size_t unit = first; unit < last; ++unit) work.RunUnit(unit);
      });
    }
  }

 private:
  // Statistics are merged chunk by chunk in one order, whether or not chunks run in parallel.
  static constexpr size_t kChunk = 65536;

  // y = act((x - center) * gain + bias), with gain = scale * inverse_std and
  // bias = shift - rest * gain: center + rest is the mean in more bits than a float32 has.
  struct Normalization {
    float center, rest, inverse_std;
  };

  // One call; a unit is one group of one sample, contiguous in memory.
  struct Work {
    void RunUnit(size_t unit) const {
      Moments total;
      for (size_t chunk = 0; chunk < Chunks(); ++chunk)
        total = Merge(total, ChunkMoments(unit, chunk));
      Apply(unit, From(total), 0, sizes.GroupSize());
    }

    void RunInChunks(const Ort::KernelContext& context, size_t units) const {
      const size_t chunks = Chunks();
      std::vector<Moments> parts(units * chunks);
      ParallelRanges(context, parts.size(), kChunk, [&](size_t first, size_t last) {
        for (size_t i = first; i < last; ++i) parts[i] = ChunkMoments(i / chunks, i % chunks);
      });
      std::vector<Normalization> normalizations;
      for (size_t unit = 0; unit < units; ++unit) {
        Moments total;
        for (size_t chunk = 0; chunk < chunks; ++chunk)
          total = Merge(total, parts[unit * chunks + chunk]);
        normalizations.push_back(From(total));
      }
      ParallelRanges(context, parts.size(), kChunk, [&](size_t first, size_t last) {
        for (size_t i = first; i < last; ++i) {
          const size_t begin = i % chunks * kChunk;
          Apply(i / chunks, normalizations[i / chunks], begin,
                std::min(sizes.GroupSize(), begin + kChunk));
        }
      });
    }

    size_t Chunks() const { return (sizes.GroupSize() + kChunk - 1) / kChunk; }

    Moments ChunkMoments(size_t unit, size_t chunk) const {
      const size_t begin = chunk * kChunk, end = std::min(sizes.GroupSize(), begin + kChunk);
      const char* from = x.data + (unit * sizes.GroupSize() + begin) * x.Bytes();
      return kernels.moments[static_cast<int>(x.type)](from, end - begin);
    }

    Normalization From(const Moments& moments) const {
      const double variance = moments.count > 0 ? moments.squares / moments.count : 0.0;
      const float center = static_cast<float>(moments.mean);
      return {center, static_cast<float>(moments.mean - center),
              static_cast<float>(1.0 / std::sqrt(variance + attributes.epsilon))};
    }

    // Elements [begin, end) of a unit, as whole channels where they are whole.
    void Apply(size_t unit, const Normalization& n, size_t begin, size_t end) const {
      constexpr size_t kRows = 64;
      float gain[kRows], bias[kRows];
      const size_t sample = unit / sizes.groups;
      const size_t first_channel = unit % sizes.groups * sizes.GroupChannels();
      while (begin < end) {
        const size_t channel = first_channel + begin / sizes.pixels, inside = begin % sizes.pixels;
        const size_t whole = inside == 0 ? std::min(kRows, (end - begin) / sizes.pixels) : 0;
        const size_t rows = std::max<size_t>(1, whole);
        const size_t length =
            whole > 0 ? sizes.pixels : std::min(end - begin, sizes.pixels - inside);
        Style(scale, sample * sizes.scale_stride + channel, rows, gain);
        Style(shift, sample * sizes.shift_stride + channel, rows, bias);
        for (size_t row = 0; row < rows; ++row) {
          gain[row] *= n.inverse_std;
          bias[row] -= n.rest * gain[row];
        }
        const size_t offset = (unit * sizes.GroupSize() + begin) * x.Bytes();
        kernels.normalize[static_cast<int>(x.type)][attributes.silu](
            x.data + offset, y + offset, rows, length, n.center, gain, bias);
        begin += rows * length;
      }
    }

    void Style(const Input& style, size_t first, size_t count, float* to) const {
      kernels.to_float[static_cast<int>(style.type)](style.data + first * style.Bytes(), to, count);
    }

    const AdaGNAttributes& attributes;
    const AdaGNSizes& sizes;
    const CpuKernels& kernels;
    const Input &x, &scale, &shift;
    char* y;
  };

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
