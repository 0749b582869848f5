// StyleLrelu as ONNX Runtime sees it, whatever device computes it.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

struct StyleLreluInputs {
  // Throws std::invalid_argument: the shapes do not fit together.
  explicit StyleLreluInputs(const Ort::KernelContext& context)
      : x(context, 0), scale(context, 1), noise(context, 2), bias(context, 3), limit(context, 4) {
    if (x.shape.size() != 4) {
      throw std::invalid_argument("StyleLrelu: x has " + std::to_string(x.shape.size()) +
                                  " dimensions, it must be [N, C, H, W]");
    }
    const int64_t count = x.shape[0], channels = x.shape[1];
    const Shape one{1, 1, x.shape[2], x.shape[3]}, each{count, 1, x.shape[2], x.shape[3]},
        none{1, 1, 1, 1};
    Check("scale", scale.shape, {{count, channels}});
    Check("noise", noise.shape, {each, one, none});
    Check("bias", bias.shape, {{channels}});
    Check("limit", limit.shape, {{1}});
    batch = static_cast<size_t>(count);
    planes = static_cast<size_t>(channels);
    pixels = static_cast<size_t>(x.shape[2] * x.shape[3]);
    has_picture = noise.shape == each || noise.shape == one;
    noise_stride = noise.shape[0] == 1 ? 0 : pixels;
  }

  Input x, scale, noise, bias, limit;
  size_t batch, planes, pixels;
  bool has_picture;
  // From one sample's noise to the next; 0 where one serves the batch.
  size_t noise_stride;

 private:
  static void Check(const char* name, const Shape& shape, std::initializer_list<Shape> fits) {
    std::string ways;
    for (const Shape& way : fits) {
      if (shape == way) return;
      ways += (ways.empty() ? "" : " or ") + Text(way);
    }
    throw std::invalid_argument(std::string("StyleLrelu: ") + name + " has shape " + Text(shape) +
                                ", it must be " + ways);
  }
};

template <class Op, class Kernel>
class StyleLreluOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "StyleLrelu";

  explicit StyleLreluOp(ONNXTensorElementDataType x)
      : OpBase<Op, Kernel>({x, kFloat, kFloat, kFloat, kFloat}, x) {}

  void InferOutput(const Inference& inference) const {
    // Any of the ops of this name may be asked: the type is what the node has.
    SymbolicShape x;
    ONNXTensorElementDataType type;
    if (inference.InputShape(0, &x, &type) && x.size() == 4) inference.SetOutput(x, type);
  }

 private:
  static constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
};

}  // namespace ddgan
