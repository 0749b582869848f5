// PhiloxNormal as ONNX Runtime sees it, whatever device computes it.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

struct PhiloxAttributes {
  explicit PhiloxAttributes(const OrtKernelInfo* info) {
    const Attributes attributes("PhiloxNormal", info);
    const auto number = attributes.Get<int64_t>("stream");
    if (number < 0 || number > UINT32_MAX) {
      throw std::invalid_argument("PhiloxNormal: stream is " + std::to_string(number) +
                                  ", it must be 0 to 2^32 - 1");
    }
    stream = static_cast<uint32_t>(number);
    shape = attributes.Integers("shape");
    for (const int64_t extent : shape) {
      if (extent < 0) {
        throw std::invalid_argument("PhiloxNormal: shape is " + Text(shape) +
                                    ", its extents must not be negative");
      }
      count *= static_cast<size_t>(extent);
    }
  }

  uint32_t stream;
  Shape shape;
  // Elements of one sample.
  size_t count = 1;
};

// Throws std::invalid_argument: seed is not [N, 1].
inline void CheckSeedShape(const Shape& seed) {
  if (seed.size() != 2 || seed[1] != 1) {
    throw std::invalid_argument("PhiloxNormal: seed has shape " + Text(seed) +
                                ", it must be [N, 1]");
  }
}

template <class Op, class Kernel>
class PhiloxNormalOp : public OpBase<Op, Kernel> {
 public:
  static constexpr const char* kName = "PhiloxNormal";

  PhiloxNormalOp()
      : OpBase<Op, Kernel>({ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
                           ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}

  void InferOutput(const Inference& inference) const {
    SymbolicShape seed;
    if (!inference.InputShape(0, &seed) || seed.empty()) return;
    SymbolicShape noise = {seed[0]};
    for (const int64_t extent : inference.Integers("shape")) noise.push_back({extent, ""});
    inference.SetOutput(noise, this->GetOutputType(0));
  }
};

}  // namespace ddgan
