// AdaGN and AdaGNSilu as ONNX Runtime sees them, whatever device computes them: attributes, types
// and shapes.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

struct AdaGNAttributes {
  // `silu`: the op is AdaGNSilu. AdaGN itself may end in it too, in older files: they say so in an
  // attribute, and would be computed wrong in silence without it.
  AdaGNAttributes(const OrtKernelInfo* info, bool silu)
      : AdaGNAttributes(info, silu, silu ? "AdaGNSilu" : "AdaGN") {
    if (!silu)
      this->silu = Attributes(op, info).OneOfOrFirst("activation", {"none", "silu"}) == 1;
  }

  AdaGNAttributes(const OrtKernelInfo* info, bool silu, const char* op) : op(op), silu(silu) {
    const Attributes attributes(op, info);
    groups = attributes.Get<int64_t>("groups");
    epsilon = attributes.Get<float>("epsilon");
    if (groups < 1)
      throw std::invalid_argument(std::string(op) + ": groups is " + std::to_string(groups) +
                                  ", it must be at least 1");
  }

  const char* op;
  int64_t groups;
  float epsilon;
  bool silu;
};

struct AdaGNSizes {
  // Throws std::invalid_argument: the shapes do not fit together.
  AdaGNSizes(const AdaGNAttributes& attributes, const Shape& x, const Shape& scale,
             const Shape& shift) {
    const std::string op = attributes.op;
    if (x.size() != 4) {
      throw std::invalid_argument(op + ": x has " + std::to_string(x.size()) +
                                  " dimensions, it must be [N, C, H, W]");
    }
    if (x[1] % attributes.groups != 0) {
      throw std::invalid_argument(op + ": " + std::to_string(x[1]) +
                                  " channels cannot be divided into " +
                                  std::to_string(attributes.groups) + " groups");
    }
    batch = static_cast<size_t>(x[0]);
    channels = static_cast<size_t>(x[1]);
    pixels = static_cast<size_t>(x[2] * x[3]);
    groups = static_cast<size_t>(attributes.groups);
    scale_stride = StyleStride(op + ": scale", scale, x);
    shift_stride = StyleStride(op + ": shift", shift, x);
  }

  size_t GroupChannels() const { return channels / groups; }
  size_t GroupSize() const { return GroupChannels() * pixels; }

  size_t batch, channels, pixels, groups;
  // From one sample's style to the next; 0 where one style serves the batch.
  size_t scale_stride, shift_stride;

 private:
  static size_t StyleStride(const std::string& name, const Shape& style, const Shape& x) {
    if (style.size() != 2 || style[1] != x[1] || (style[0] != 1 && style[0] != x[0])) {
      throw std::invalid_argument(name + " has shape " + Text(style) + ", it must be [N or 1, " +
                                  std::to_string(x[1]) + "]");
    }
    return style[0] == 1 ? 0 : static_cast<size_t>(style[1]);
  }
};

template <class Op, class Kernel>
class AdaGNOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "AdaGN";

  AdaGNOp(ONNXTensorElementDataType x, ONNXTensorElementDataType scale,
          ONNXTensorElementDataType shift)
      : OpBase<Op, Kernel>({x, scale, shift}, x) {}

  void InferOutput(const Inference& inference) const {
    // Before ONNX Runtime has chosen among the ops of this name, any of them may be asked: the
    // answer cannot be this one's own type.
    SymbolicShape x;
    ONNXTensorElementDataType type;
    if (inference.InputShape(0, &x, &type) && x.size() == 4) inference.SetOutput(x, type);
  }
};

template <class Op, class Kernel>
class AdaGNSiluOp : public AdaGNOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "AdaGNSilu";
  using AdaGNOp<Op, Kernel>::AdaGNOp;
};

}  // namespace ddgan
