// ReverseStep and ReverseMean as ONNX Runtime sees them, whatever device computes them.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

constexpr int64_t kReverseCoefficients = 7;

template <bool kNoise>
struct ReverseInputs {
  static constexpr const char* kOp = kNoise ? "ReverseStep" : "ReverseMean";

  // Throws std::invalid_argument: the shapes do not fit together.
  explicit ReverseInputs(const Ort::KernelContext& context)
      : out(context, 0), x(context, 1), noise(context, kNoise ? 2 : 1),
        coefficients(context, kNoise ? 3 : 2) {
    const std::string op = kOp;
    if (out.shape != x.shape || out.shape != noise.shape) {
      throw std::invalid_argument(
          op + (kNoise ? ": out, x and noise" : ": out and x") +
          " must have one shape, they have " + Text(out.shape) + (kNoise ? ", " : " and ") +
          Text(x.shape) + (kNoise ? " and " + Text(noise.shape) : ""));
    }
    if (out.shape.size() != 4) {
      throw std::invalid_argument(op + ": out has " + std::to_string(out.shape.size()) +
                                  " dimensions, it must be [N, C, H, W]");
    }
    if (coefficients.shape != Shape{kReverseCoefficients}) {
      throw std::invalid_argument(op + ": coefficients has shape " + Text(coefficients.shape) +
                                  ", it must be " + Text({kReverseCoefficients}));
    }
  }

  // ReverseMean has no noise: x stands in its place.
  Input out, x, noise, coefficients;
};

template <class Op, class Kernel>
class ReverseStepOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "ReverseStep";

  explicit ReverseStepOp(ONNXTensorElementDataType out)
      : ReverseStepOp(std::vector{out, kFloat, kFloat, kFloat}) {}

  void InferOutput(const Inference& inference) const {
    SymbolicShape shape;
    // All but the last, the coefficients.
    for (size_t input = 0; input + 1 < this->GetInputTypeCount(); ++input) {
      if (inference.InputShape(input, &shape) && shape.size() == 4 &&
          inference.SetOutput(shape, kFloat)) {
        return;
      }
    }
  }

 protected:
  static constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

  explicit ReverseStepOp(std::vector<ONNXTensorElementDataType> inputs)
      : OpBase<Op, Kernel>(std::move(inputs), kFloat) {}
};

template <class Op, class Kernel>
class ReverseMeanOp : public ReverseStepOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "ReverseMean";

  explicit ReverseMeanOp(ONNXTensorElementDataType out)
      : ReverseStepOp<Op, Kernel>(std::vector{out, this->kFloat, this->kFloat}) {}
};

}  // namespace ddgan
