// Conv3x3 as ONNX Runtime sees it: attributes, types and shapes.
//
//     y = (conv(x, weight) + bias + residual) * scale
//
// with stride 1 and one pixel of zeros around x. It is in no file: the CPU engine puts it in the
// place of Conv nodes, and of the Add and Mul after them, when it opens a graph.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

struct Conv3x3Sizes {
  // Throws std::invalid_argument: the shapes do not fit together.
  Conv3x3Sizes(const Shape& x, const Shape& weight, const Shape& bias, const Shape* residual) {
    if (x.size() != 4) {
      throw std::invalid_argument("Conv3x3: x has " + std::to_string(x.size()) +
                                  " dimensions, it must be [N, C, H, W]");
    }
    if (x[1] == 0) throw std::invalid_argument("Conv3x3: x has no channels");
    if (weight.size() != 4 || weight[1] != x[1] || weight[2] != 3 || weight[3] != 3) {
      throw std::invalid_argument("Conv3x3: weight has shape " + Text(weight) +
                                  ", it must be [K, " + std::to_string(x[1]) + ", 3, 3]");
    }
    if (bias != Shape{weight[0]}) {
      throw std::invalid_argument("Conv3x3: bias has shape " + Text(bias) + ", it must be [" +
                                  std::to_string(weight[0]) + "]");
    }
    y = {x[0], weight[0], x[2], x[3]};
    if (residual != nullptr && *residual != y) {
      throw std::invalid_argument("Conv3x3: residual has shape " + Text(*residual) +
                                  ", it must be " + Text(y));
    }
    batch = static_cast<size_t>(x[0]);
    inputs = static_cast<size_t>(x[1]);
    outputs = static_cast<size_t>(weight[0]);
    height = static_cast<size_t>(x[2]);
    width = static_cast<size_t>(x[3]);
  }

  Shape y;
  size_t batch, inputs, outputs, height, width;
};

template <class Op, class Kernel>
class Conv3x3Op : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "Conv3x3";
  static constexpr size_t kResidual = 3;

  Conv3x3Op() : OpBase<Op, Kernel>({kFloat, kFloat, kFloat, kFloat}, kFloat) {}

  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const {
    return index == kResidual ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
  }

  void InferOutput(const Inference& inference) const {
    SymbolicShape x, weight;
    if (!inference.InputShape(0, &x) || !inference.InputShape(1, &weight)) return;
    if (x.size() != 4 || weight.size() != 4) return;
    x[1] = weight[0];
    inference.SetOutput(x, kFloat);
  }

 private:
  static constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
};

}  // namespace ddgan
