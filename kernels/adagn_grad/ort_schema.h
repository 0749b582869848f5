// AdaGNGrad and AdaGNSiluGrad as ONNX Runtime sees them, whatever device computes them.
#pragma once

#include "../adagn/ort_schema.h"

namespace ddgan {

template <bool kSilu>
struct AdaGNGradAttributes : AdaGNAttributes {
  explicit AdaGNGradAttributes(const OrtKernelInfo* info)
      : AdaGNAttributes(info, kSilu, kSilu ? "AdaGNSiluGrad" : "AdaGNGrad") {}
};

struct AdaGNGradInputs {
  // Throws std::invalid_argument: the shapes do not fit together.
  AdaGNGradInputs(const AdaGNAttributes& attributes, const Ort::KernelContext& context)
      : dy(context, 0), x(context, 1), scale(context, 2), shift(context, 3),
        sizes(attributes, x.shape, scale.shape, shift.shape) {
    if (dy.shape != x.shape) {
      throw std::invalid_argument(std::string(attributes.op) +
                                  ": dy and x must have one shape, they have " + Text(dy.shape) +
                                  " and " + Text(x.shape));
    }
  }

  Input dy, x, scale, shift;
  AdaGNSizes sizes;
};

template <class Op, class Kernel>
class AdaGNGradOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "AdaGNGrad";

  // `image`: of dy, x and dx; `style`: of scale and shift.
  AdaGNGradOp(ONNXTensorElementDataType image, ONNXTensorElementDataType style)
      : OpBase<Op, Kernel>({image, image, style, style}, image) {}

  void InferOutput(const Inference& inference) const {
    // Any of the ops of this name may be asked: the type is what the node has.
    SymbolicShape shape;
    ONNXTensorElementDataType type;
    for (const size_t input : {1, 0}) {
      if (inference.InputShape(input, &shape, &type) && shape.size() == 4 &&
          inference.SetOutput(shape, type)) {
        return;
      }
    }
  }
};

template <class Op, class Kernel>
class AdaGNSiluGradOp : public AdaGNGradOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "AdaGNSiluGrad";
  using AdaGNGradOp<Op, Kernel>::AdaGNGradOp;
};

}  // namespace ddgan
