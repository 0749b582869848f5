// PosteriorSample, of files of format 1, as ONNX Runtime sees it.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

struct PosteriorAttributes {
  explicit PosteriorAttributes(const OrtKernelInfo* info) {
    const Attributes attributes("PosteriorSample", info);
    coefficients = {attributes.Get<float>("coef_x0"), attributes.Get<float>("coef_xt"),
                    attributes.Get<float>("sigma")};
    tanh = attributes.OneOf("squash", {"none", "tanh"}) == 1;
  }

  PosteriorCoefficients coefficients;
  bool tanh;
};

// Throws std::invalid_argument: the shapes differ, or are not [N, C, H, W].
inline void CheckPosteriorShapes(const Shape& x0_raw, const Shape& x_t, const Shape& noise) {
  if (x0_raw != x_t || x0_raw != noise) {
    throw std::invalid_argument(
        "PosteriorSample: x0_raw, x_t and noise must have one shape, they have " + Text(x0_raw) +
        ", " + Text(x_t) + " and " + Text(noise));
  }
  if (x0_raw.size() != 4) {
    throw std::invalid_argument("PosteriorSample: x0_raw has " + std::to_string(x0_raw.size()) +
                                " dimensions, it must be [N, C, H, W]");
  }
}

template <class Op, class Kernel>
class PosteriorSampleOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "PosteriorSample";

  explicit PosteriorSampleOp(ONNXTensorElementDataType x0_raw)
      : OpBase<Op, Kernel>(
            {x0_raw, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}

  void InferOutput(const Inference& inference) const {
    SymbolicShape shape;
    for (size_t input = 0; input < 3; ++input) {
      if (inference.InputShape(input, &shape) && shape.size() == 4 &&
          inference.SetOutput(shape, this->GetOutputType(0))) {
        return;
      }
    }
  }
};

}  // namespace ddgan
