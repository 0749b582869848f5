// The Philox ops as ONNX Runtime sees them, whatever device computes them.
#pragma once

#include "../native/ort_support.h"

namespace ddgan {

// Shape of one sample.
struct PhiloxShape {
  explicit PhiloxShape(const char* op, const OrtKernelInfo* info)
      : shape(Attributes(op, info).Integers("shape")) {
    for (const int64_t extent : shape) {
      if (extent < 0) {
        throw std::invalid_argument(std::string(op) + ": shape is " + Text(shape) +
                                    ", its extents must not be negative");
      }
      count *= static_cast<size_t>(extent);
    }
  }

  // Of the output. Throws std::invalid_argument: seed is not [N, 1].
  Shape Of(const char* op, const Shape& seed) const {
    if (seed.size() != 2 || seed[1] != 1) {
      throw std::invalid_argument(std::string(op) + ": seed has shape " + Text(seed) +
                                  ", it must be [N, 1]");
    }
    Shape all = shape;
    all.insert(all.begin(), seed[0]);
    return all;
  }

  Shape shape;
  // Elements of one sample.
  size_t count = 1;
};

// An attribute from `least` to `most`, which `range` says.
inline uint32_t PhiloxNumber(const char* op, const OrtKernelInfo* info, const char* name,
                             int64_t least, int64_t most, const char* range) {
  const auto number = Attributes(op, info).Get<int64_t>(name);
  if (number < least || number > most) {
    throw std::invalid_argument(std::string(op) + ": " + name + " is " + std::to_string(number) +
                                ", it must be " + range);
  }
  return static_cast<uint32_t>(number);
}

inline uint32_t StreamAttribute(const char* op, const OrtKernelInfo* info) {
  return PhiloxNumber(op, info, "stream", 0, UINT32_MAX, "0 to 2^32 - 1");
}

inline uint32_t BelowAttribute(const char* op, const OrtKernelInfo* info) {
  return PhiloxNumber(op, info, "below", 1, INT64_C(1) << 31, "1 to 2^31");
}

// Throws std::invalid_argument: the stream's number is not one.
inline void CheckStreamShape(const char* op, const Shape& stream) {
  if (!stream.empty()) {
    throw std::invalid_argument(std::string(op) + ": stream has shape " + Text(stream) +
                                ", it must be []");
  }
}

constexpr auto kPhiloxInteger = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
constexpr auto kPhiloxFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

template <class Op, class Kernel>
class PhiloxOp : public OpBase<Op, Kernel> {
 public:
  using OpBase<Op, Kernel>::OpBase;

  void InferOutput(const Inference& inference) const {
    SymbolicShape seed;
    if (!inference.InputShape(0, &seed) || seed.empty()) return;
    SymbolicShape drawn = {seed[0]};
    for (const int64_t extent : inference.Integers("shape")) drawn.push_back({extent, ""});
    inference.SetOutput(drawn, this->GetOutputType(0));
  }
};

template <class Op, class Kernel>
class PhiloxNormalOp : public PhiloxOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "PhiloxNormal";
  PhiloxNormalOp() : PhiloxOp<Op, Kernel>({kPhiloxInteger}, kPhiloxFloat) {}
};

template <class Op, class Kernel>
class PhiloxNormalAtOp : public PhiloxOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "PhiloxNormalAt";
  PhiloxNormalAtOp() : PhiloxOp<Op, Kernel>({kPhiloxInteger, kPhiloxInteger}, kPhiloxFloat) {}
};

template <class Op, class Kernel>
class PhiloxIntegerOp : public PhiloxOp<Op, Kernel> {
 public:
  static constexpr const char* kName = "PhiloxInteger";
  PhiloxIntegerOp() : PhiloxOp<Op, Kernel>({kPhiloxInteger}, kPhiloxInteger) {}
};

}  // namespace ddgan
