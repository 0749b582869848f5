// The products of low precision as ONNX Runtime sees them: attributes, types and shapes.
//
//     Pack(x)                          x as uint8 or bfloat16, all channels of a pixel together
//     PackAdaGN(x, scale, shift)       the same of AdaGN's result,
//     PackAdaGNSilu(x, scale, shift)   and of AdaGNSilu's
//     Uint8Conv(packed, weight, bias, factor, offset[, residual])
//         y = ((conv(packed, weight) - offset) * factor + bias + residual) * scale
//     Bfloat16Conv(packed, weight, bias[, residual])
//         y = (conv(packed, weight) + bias + residual) * scale
//
// Convolutions are 1 x 1, or 3 x 3 with one pixel of zeros around x, of stride 1. x and y are float32
// [N, C, H, W], what is packed is uint8 [N, positions, bytes] (packed_conv/cpu.h), weights are uint8
// [panels, taps, blocks, 2, 16, 64] (dot.h). They are in no file: the CPU engine puts them in the
// place of other nodes when it opens a graph.
#pragma once

#include "../adagn/ort_schema.h"
#include "../native/ort_support.h"

namespace ddgan {

struct PackedSizes {
  PackedSizes(int64_t height, int64_t width)
      : height(static_cast<size_t>(height)), width(static_cast<size_t>(width)) {}

  // With what a product may read beyond them.
  size_t Positions() const { return (height + 2) * (width + 1) + 1 + kPackedSlack; }

  // From a pixel's position to its own and its neighbours', as if the first pixel's first neighbour
  // were the first position.
  std::vector<size_t> Taps(size_t kernel) const {
    if (kernel == 1) return {width + 2};
    std::vector<size_t> taps;
    for (size_t y = 0; y < 3; ++y)
      for (size_t x = 0; x < 3; ++x) taps.push_back(y * (width + 1) + x);
    return taps;
  }

  size_t height, width;
};

// How x is packed.
struct PackAttributes {
  PackAttributes(const char* op, const OrtKernelInfo* info) {
    const Attributes attributes(op, info);
    type = static_cast<Packed>(attributes.OneOf("type", {"uint8", "bfloat16"}));
    if (type == Packed::kBfloat16) return;
    const float step = attributes.Get<float>("step");
    const int64_t zero = attributes.Get<int64_t>("zero");
    if (!(step > 0.0f)) throw std::invalid_argument(std::string(op) + ": step must be positive");
    if (zero < 0 || zero > 255)
      throw std::invalid_argument(std::string(op) + ": zero is " + std::to_string(zero) +
                                  ", it must be 0 to 255");
    rounding = {1.0f / step, static_cast<int32_t>(zero)};
  }

  size_t Bytes() const { return type == Packed::kUint8 ? 1 : 2; }

  // Of a packed image's row.
  size_t Stride(size_t channels) const {
    return (channels * Bytes() + kPackedBlock - 1) / kPackedBlock * kPackedBlock;
  }

  Packed type;
  Rounding rounding{1.0f, 0};
};

template <class Op, class Kernel>
class PackOpBase : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kProvider = nullptr;

  explicit PackOpBase(size_t inputs)
      : OpBase<Op, Kernel>(std::vector(inputs, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
                           ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8) {}

  // Nobody but the ops below reads it.
  void InferOutput(const Inference&) const {}
};

struct PackedConvSizes {
  // Throws std::invalid_argument: the shapes do not fit together.
  PackedConvSizes(const std::string& op, size_t kernel, PackedSizes image, const Shape& packed,
                  const Shape& weight, const Shape& bias)
      : image(image), taps(image.Taps(kernel)) {
    if (packed.size() != 3 || packed[1] != static_cast<int64_t>(image.Positions()) ||
        packed[2] < 1 || packed[2] % kPackedBlock != 0) {
      throw std::invalid_argument(op + ": packed has shape " + Text(packed) + ", it must be [N, " +
                                  std::to_string(image.Positions()) + ", whole blocks]");
    }
    if (bias.size() != 1)
      throw std::invalid_argument(op + ": bias has shape " + Text(bias) + ", it must be [K]");
    batch = static_cast<size_t>(packed[0]);
    stride = static_cast<size_t>(packed[2]);
    outputs = static_cast<size_t>(bias[0]);
    panels = (outputs + kPackedPanel - 1) / kPackedPanel;
    const Shape wanted = {static_cast<int64_t>(panels),
                          static_cast<int64_t>(taps.size()),
                          static_cast<int64_t>(stride / kPackedBlock),
                          2,
                          16,
                          64};
    if (weight != wanted)
      throw std::invalid_argument(op + ": weight has shape " + Text(weight) + ", it must be " +
                                  Text(wanted));
    y = {packed[0], bias[0], static_cast<int64_t>(image.height),
         static_cast<int64_t>(image.width)};
  }

  void Check(const std::string& op, const char* name, const Shape& shape,
             const Shape& wanted) const {
    if (shape != wanted)
      throw std::invalid_argument(op + ": " + name + " has shape " + Text(shape) +
                                  ", it must be " + Text(wanted));
  }

  size_t PanelBytes() const { return taps.size() * stride / kPackedBlock * 2 * kPackedTile; }

  PackedSizes image;
  std::vector<size_t> taps;
  Shape y;
  size_t batch, stride, outputs, panels;
};

template <class Op, class Kernel>
class PackedConvOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kProvider = nullptr;

  using OpBase<Op, Kernel>::OpBase;

  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const {
    return index + 1 == this->GetInputTypeCount() ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
  }

  // What it makes is said in the graph.
  void InferOutput(const Inference&) const {}
};

}  // namespace ddgan
