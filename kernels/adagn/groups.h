// The groups of one call of AdaGN, or of its gradient, on ONNX Runtime's CPU provider: their
// statistics, their rows, and how they are shared out among threads.
#pragma once

#include <cmath>
#include <thread>

#include "ort_schema.h"

namespace ddgan {

// y = act((x - center) * gain + bias), with gain = scale * inverse_std and
// bias = shift - rest * gain: center + rest is the mean in more bits than a float32 has.
struct Normalization {
  float center, rest, inverse_std;
};

// A unit is one group of one sample, contiguous in memory.
struct AdaGNGroups {
  // What is summed over a unit is so chunk by chunk in one order, whether or not chunks run in
  // parallel.
  static constexpr size_t kChunk = 65536;

  size_t Units() const { return sizes.batch * sizes.groups; }

  size_t Chunks() const { return (sizes.GroupSize() + kChunk - 1) / kChunk; }

  // Where there are fewer groups than processors, each group is split too: the result is the
  // same, but the second reading may come from another processor's cache.
  bool Split() const {
    // The number of processors is asked last: the C library opens a file for it each time.
    return sizes.GroupSize() > kChunk && Units() < std::thread::hardware_concurrency();
  }

  // run(unit) for all of them on the session's threads.
  template <class Run>
  void ForUnits(const Ort::KernelContext& context, const Run& run) const {
    ParallelRanges(context, Units(), sizes.GroupSize(), [&](size_t first, size_t last) {
      for (size_t unit = first; unit < last; ++unit) run(unit);
    });
  }

  // run(unit, begin, end) for all chunks of all units, elements [begin, end), on the session's
  // threads.
  template <class Run>
  void ForChunks(const Ort::KernelContext& context, const Run& run) const {
    const size_t chunks = Chunks();
    ParallelRanges(context, Units() * chunks, kChunk, [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) Chunk(i / chunks, i % chunks, run);
    });
  }

  // What part(unit, begin, end) gives of a unit's chunks, merged.
  template <class Total, class Part>
  Total OfUnit(size_t unit, const Part& part) const {
    Total total;
    for (size_t chunk = 0; chunk < Chunks(); ++chunk)
      total = Merge(total, Chunk(unit, chunk, part));
    return total;
  }

  // The same of every unit, the chunks on the session's threads.
  template <class Total, class Part>
  std::vector<Total> OfUnits(const Ort::KernelContext& context, const Part& part) const {
    std::vector<Total> parts(Units() * Chunks()), totals(Units());
    ForChunks(context, [&](size_t unit, size_t begin, size_t end) {
      parts[unit * Chunks() + begin / kChunk] = part(unit, begin, end);
    });
    for (size_t i = 0; i < parts.size(); ++i)
      totals[i / Chunks()] = Merge(totals[i / Chunks()], parts[i]);
    return totals;
  }

  Normalization NormalizationOf(size_t unit) const {
    return From(OfUnit<Moments>(unit, [this](auto... part) { return ChunkMoments(part...); }));
  }

  // Of all units, in their order.
  std::vector<Normalization> Normalizations(const Ort::KernelContext& context) const {
    std::vector<Normalization> normalizations;
    if (!Split()) {
      normalizations.resize(Units());
      ForUnits(context, [&](size_t unit) { normalizations[unit] = NormalizationOf(unit); });
      return normalizations;
    }
    const auto all = OfUnits<Moments>(context, [this](auto... part) { return ChunkMoments(part...); });
    for (const Moments& moments : all) normalizations.push_back(From(moments));
    return normalizations;
  }

  // What every channel of a sample is normalized with, channels [0, C) of each array.
  void ForChannels(size_t sample, const std::vector<Normalization>& all, float* center, float* gain,
                   float* bias) const {
    Style(scale, sample * sizes.scale_stride, sizes.channels, gain);
    Style(shift, sample * sizes.shift_stride, sizes.channels, bias);
    for (size_t channel = 0; channel < sizes.channels; ++channel) {
      const Normalization& n = all[sample * sizes.groups + channel / sizes.GroupChannels()];
      center[channel] = n.center;
      gain[channel] *= n.inverse_std;
      bias[channel] -= n.rest * gain[channel];
    }
  }

  // run(offset, rows, length, gain, bias) for elements [begin, end) of a unit, as whole channels
  // where they are whole: `rows` of them of `length` elements, `offset` bytes from the tensor's
  // first.
  template <class Run>
  void ForRows(size_t unit, const Normalization& n, size_t begin, size_t end,
               const Run& run) const {
    constexpr size_t kRows = 64;
    float gain[kRows], bias[kRows];
    const size_t sample = unit / sizes.groups;
    const size_t first_channel = unit % sizes.groups * sizes.GroupChannels();
    while (begin < end) {
      const size_t channel = first_channel + begin / sizes.pixels, inside = begin % sizes.pixels;
      const size_t whole = inside == 0 ? std::min(kRows, (end - begin) / sizes.pixels) : 0;
      const size_t rows = std::max<size_t>(1, whole);
      const size_t length = whole > 0 ? sizes.pixels : std::min(end - begin, sizes.pixels - inside);
      Style(scale, sample * sizes.scale_stride + channel, rows, gain);
      Style(shift, sample * sizes.shift_stride + channel, rows, bias);
      for (size_t row = 0; row < rows; ++row) {
        gain[row] *= n.inverse_std;
        bias[row] -= n.rest * gain[row];
      }
      run(Offset(unit, begin), rows, length, gain, bias);
      begin += rows * length;
    }
  }

  const AdaGNAttributes& attributes;
  const AdaGNSizes& sizes;
  const CpuKernels& kernels;
  const Input &x, &scale, &shift;

 private:
  Moments ChunkMoments(size_t unit, size_t begin, size_t end) const {
    return kernels.moments[static_cast<int>(x.type)](x.data + Offset(unit, begin), end - begin);
  }

  Normalization From(const Moments& moments) const {
    const double variance = moments.count > 0 ? moments.squares / moments.count : 0.0;
    const float center = static_cast<float>(moments.mean);
    return {center, static_cast<float>(moments.mean - center),
            static_cast<float>(1.0 / std::sqrt(variance + attributes.epsilon))};
  }

  template <class Run>
  auto Chunk(size_t unit, size_t chunk, const Run& run) const {
    const size_t begin = chunk * kChunk;
    return run(unit, begin, std::min(sizes.GroupSize(), begin + kChunk));
  }

  size_t Offset(size_t unit, size_t element) const {
    return (unit * sizes.GroupSize() + element) * x.Bytes();
  }

  void Style(const Input& style, size_t first, size_t count, float* to) const {
    kernels.to_float[static_cast<int>(style.type)](style.data + first * style.Bytes(), to, count);
  }
};

}  // namespace ddgan
