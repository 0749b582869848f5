// The products of low precision on ONNX Runtime's CPU provider.
#pragma once

#include <optional>
#include <thread>

#include "../adagn/groups.h"
#include "../native/isa.h"
#include "../native/ort_scratch.h"
#include "ort_schema.h"

namespace ddgan {

// Packs the images of one call on the session's threads.
class Packing {
 public:
  Packing(const Ort::KernelContext& context, const PackAttributes& attributes, const Input& x)
      : attributes_(attributes), x_(x) {
    if (x.shape.size() != 4)
      throw std::invalid_argument("Pack: x has " + std::to_string(x.shape.size()) +
                                  " dimensions, it must be [N, C, H, W]");
    const PackedSizes sizes(x.shape[2], x.shape[3]);
    const auto channels = static_cast<size_t>(x.shape[1]);
    shape_ = {channels, sizes.height, sizes.width, attributes.Stride(channels)};
    positions_ = sizes.Positions();
    batch_ = static_cast<size_t>(x.shape[0]);
    const Shape packed = {x.shape[0], static_cast<int64_t>(positions_),
                          static_cast<int64_t>(shape_.stride)};
    to_ = context.GetOutput(0, packed).GetTensorMutableData<uint8_t>();
  }

  // `kind` is an index of PackedKernels::pack; affine(sample) what its channels are made with.
  template <class Affine>
  void Run(const Ort::KernelContext& context, size_t kind, const Affine& affine) const {
    constexpr size_t kTaskPixels = 512;
    if (shape_.width * shape_.height == 0) return;
    const PackedKernels& kernels = SelectedKernels().packed;
    const auto pack = kernels.pack[static_cast<size_t>(attributes_.type)][kind];
    const size_t channels = kernels.lanes * 4 / attributes_.Bytes();
    const size_t blocks = shape_.stride / (kernels.lanes * 4);
    const size_t rows = std::clamp<size_t>(kTaskPixels / shape_.width, 1, shape_.height);
    const size_t parts = (shape_.height + rows - 1) / rows;
    ParallelRanges(context, batch_ * parts * blocks, channels * rows * shape_.width,
                   [&](size_t from, size_t to) {
      for (size_t task = from; task < to; ++task) {
        const size_t sample = task / (parts * blocks), part = task / blocks % parts;
        const size_t first = part * rows, last = std::min(shape_.height, first + rows);
        const size_t channel = task % blocks * channels;
        uint8_t* const image = to_ + sample * positions_ * shape_.stride;
        if (channel == 0) FillBorder(image, first, last);
        ChannelAffine here = affine(sample);
        if (here.gain) here = {here.center + channel, here.gain + channel, here.bias + channel};
        pack(Image(sample, channel), shape_, channel, first, last, here, attributes_.rounding,
             image);
      }
    });
  }

 private:
  const float* Image(size_t sample, size_t channel) const {
    // Of a block that is filling alone nothing is read.
    return reinterpret_cast<const float*>(x_.data) +
           (sample * shape_.channels + std::min(channel, shape_.channels)) * shape_.height *
               shape_.width;
  }

  // The positions before rows [first, last), above the first row of all and below the last.
  void FillBorder(uint8_t* image, size_t first, size_t last) const {
    const size_t pitch = shape_.width + 1;
    const auto fill = [&](size_t position, size_t count) {
      std::fill_n(image + position * shape_.stride, count * shape_.stride,
                  static_cast<uint8_t>(attributes_.rounding.zero));
    };
    if (first == 0) fill(0, pitch);
    for (size_t y = first; y < last; ++y) fill((y + 1) * pitch, 1);
    if (last == shape_.height) fill((last + 1) * pitch, positions_ - (last + 1) * pitch);
  }

  const PackAttributes& attributes_;
  const Input& x_;
  PackedImage shape_;
  size_t positions_, batch_;
  uint8_t* to_;
};

class CpuPackKernel {
 public:
  explicit CpuPackKernel(const OrtKernelInfo* info) : attributes_("Pack", info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0);
    Packing(context, attributes_, x).Run(context, 0, [](size_t) { return ChannelAffine{}; });
  }

 private:
  PackAttributes attributes_;
};

template <bool kSilu>
class CpuPackAdaGNKernel {
 public:
  explicit CpuPackAdaGNKernel(const OrtKernelInfo* info)
      : adagn_(info, kSilu, kSilu ? "PackAdaGNSilu" : "PackAdaGN"), attributes_(adagn_.op, info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0), scale(context, 1), shift(context, 2);
    const AdaGNSizes sizes(adagn_, x.shape, scale.shape, shift.shape);
    const AdaGNGroups groups{adagn_, sizes, SelectedKernels(), x, scale, shift};
    const Packing packing(context, attributes_, x);
    const auto all = groups.Normalizations(context);
    const size_t row = sizes.channels;
    std::vector<float> affine(sizes.batch * 3 * row);
    for (size_t sample = 0; sample < sizes.batch; ++sample) {
      float* const to = affine.data() + sample * 3 * row;
      groups.ForChannels(sample, all, to, to + row, to + 2 * row);
    }
    packing.Run(context, kSilu ? 2 : 1, [&](size_t sample) {
      const float* const from = affine.data() + sample * 3 * row;
      return ChannelAffine{from, from + row, from + 2 * row};
    });
  }

 private:
  AdaGNAttributes adagn_;
  PackAttributes attributes_;
};

class CpuPackOp : public PackOpBase<CpuPackOp, CpuPackKernel> {
 public:
  static constexpr const char* kName = "Pack";
  CpuPackOp() : PackOpBase(1) {}
};

class CpuPackAdaGNOp : public PackOpBase<CpuPackAdaGNOp, CpuPackAdaGNKernel<false>> {
 public:
  static constexpr const char* kName = "PackAdaGN";
  CpuPackAdaGNOp() : PackOpBase(3) {}
};

class CpuPackAdaGNSiluOp : public PackOpBase<CpuPackAdaGNSiluOp, CpuPackAdaGNKernel<true>> {
 public:
  static constexpr const char* kName = "PackAdaGNSilu";
  CpuPackAdaGNSiluOp() : PackOpBase(3) {}
};

template <Packed kType>
class CpuPackedConvKernel {
 public:
  static constexpr const char* kName =
      kType == Packed::kUint8 ? "Uint8Conv" : "Bfloat16Conv";
  static constexpr size_t kResidual = kType == Packed::kUint8 ? 5 : 3;

  explicit CpuPackedConvKernel(const OrtKernelInfo* info)
      : threads_(std::max(1u, std::thread::hardware_concurrency())) {
    const Attributes attributes(kName, info);
    scale_ = attributes.Get<float>("scale");
    kernel_ = attributes.Get<int64_t>("kernel");
    height_ = attributes.Get<int64_t>("height");
    width_ = attributes.Get<int64_t>("width");
    if (kernel_ != 1 && kernel_ != 3)
      throw std::invalid_argument(std::string(kName) + ": kernel is " + std::to_string(kernel_) +
                                  ", it must be 1 or 3");
    if (height_ < 1 || width_ < 1)
      throw std::invalid_argument(std::string(kName) + ": height and width must be at least 1");
  }

  void Compute(const Ort::KernelContext& context) const {
    const Input packed(context, 0), weight(context, 1), bias(context, 2);
    const PackedConvSizes sizes(kName, static_cast<size_t>(kernel_),
                                PackedSizes(height_, width_), packed.shape, weight.shape,
                                bias.shape);
    Work work{sizes, packed.data, weight.data, {}, nullptr, nullptr, 0};
    work.epilogue = {Floats(bias), nullptr, nullptr, nullptr, scale_};
    if constexpr (kType == Packed::kUint8) {
      const Input factor(context, 3), offset(context, 4);
      sizes.Check(kName, "factor", factor.shape, bias.shape);
      sizes.Check(kName, "offset", offset.shape, bias.shape);
      work.epilogue.factor = Floats(factor);
      work.epilogue.offset = reinterpret_cast<const int32_t*>(offset.data);
    }
    if (context.GetInputCount() > kResidual) {
      const Input residual(context, kResidual);
      sizes.Check(kName, "residual", residual.shape, sizes.y);
      work.epilogue.residual = Floats(residual);
    }
    work.y = context.GetOutput(0, sizes.y).template GetTensorMutableData<float>();
    if (sizes.batch * sizes.outputs == 0) return;
    work.Run(context, threads_);
  }

 private:
  static const float* Floats(const Input& input) {
    return reinterpret_cast<const float*>(input.data);
  }

  // One call.
  struct Work {
    // The sums of a task stay in the second-level cache.
    static constexpr size_t kTaskPositions = 512;

    void Run(const Ort::KernelContext& context, size_t threads) {
      const size_t height = sizes.image.height, pitch = sizes.image.width + 1;
      const size_t most = std::max<size_t>(1, kTaskPositions / pitch);
      const size_t parts = (height + most - 1) / most, rows = (height + parts - 1) / parts;
      const size_t tasks = sizes.batch * parts * sizes.panels, slots = std::min(threads, tasks);
      slot_floats = (rows * pitch + kPackedSlack + kernels.lanes) * kPackedPanel;
      taps = sizes.taps;
      for (size_t& tap : taps) tap *= sizes.stride;
      const CpuScratch memory(context, slots * slot_floats);
      scratch = memory.get();
      ParallelTasks(context, tasks, slots, [&](size_t task, size_t slot) {
        const size_t part = task / sizes.panels % parts;
        Panel(task / sizes.panels / parts, part * rows, std::min(height, (part + 1) * rows),
              task % sizes.panels, scratch + slot * slot_floats);
      });
    }

    void Panel(size_t sample, size_t first, size_t last, size_t panel, float* sums) const {
      if (first >= last) return;
      const size_t width = sizes.image.width, pitch = width + 1;
      const PackedRows rows{
          reinterpret_cast<const uint8_t*>(packed) +
              (sample * sizes.image.Positions() + first * pitch) * sizes.stride,
          sizes.stride, taps.data(), taps.size()};
      auto* const results = reinterpret_cast<uint8_t*>(sums);
      // The last position of all is one of the border.
      SelectedDots().panel[static_cast<size_t>(kType)](
          rows, reinterpret_cast<const uint8_t*>(weight) + panel * sizes.PanelBytes(),
          (last - first) * pitch - 1, results);
      const size_t output = panel * kPackedPanel, area = sizes.image.height * width;
      const size_t at = (sample * sizes.outputs + output) * area;
      PackedEpilogue here = epilogue;
      here.bias += output;
      if (here.factor) here.factor += output, here.offset += output;
      if (here.residual) here.residual += at;
      kernels.result[static_cast<size_t>(kType)](
          results, {sizes.outputs - output, sizes.image.height, width, sizes.stride}, first, last,
          here, y + at);
    }

    const PackedConvSizes& sizes;
    const char *packed, *weight;
    PackedEpilogue epilogue;
    float *y, *scratch;
    size_t slot_floats;
    std::vector<size_t> taps = {};
    const PackedKernels& kernels = SelectedKernels().packed;
  };

  float scale_;
  int64_t kernel_, height_, width_;
  size_t threads_;
};

class CpuUint8ConvOp : public PackedConvOp<CpuUint8ConvOp, CpuPackedConvKernel<Packed::kUint8>> {
 public:
  static constexpr const char* kName = "Uint8Conv";
  CpuUint8ConvOp()
      : PackedConvOp({ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
                      ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                      ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
                     ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}
};

class CpuBfloat16ConvOp
    : public PackedConvOp<CpuBfloat16ConvOp, CpuPackedConvKernel<Packed::kBfloat16>> {
 public:
  static constexpr const char* kName = "Bfloat16Conv";
  CpuBfloat16ConvOp()
      : PackedConvOp({ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
                      ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
                     ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}
};

}  // namespace ddgan
