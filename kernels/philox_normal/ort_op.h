// The Philox ops on ONNX Runtime's CPU provider.
#pragma once

#include <cstring>

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

inline uint64_t Number(const Input& input, size_t index) {
  uint64_t number;
  std::memcpy(&number, input.data + index * sizeof number, sizeof number);
  return number;
}

// Draws the output: draw(stream, first_block, to, count) makes `count` elements from a block on.
template <class Value, class Draw>
void DrawAll(const Ort::KernelContext& context, const char* op, const PhiloxShape& each,
             uint32_t stream, const Draw& draw) {
  // Elements; whole Philox blocks of four.
  constexpr size_t kChunk = 4096;
  const Input seed(context, 0);
  const Shape shape = each.Of(op, seed.shape);
  Value* to = context.GetOutput(0, shape).template GetTensorMutableData<Value>();
  const size_t count = each.count, chunks = (count + kChunk - 1) / kChunk;
  ParallelRanges(context, static_cast<size_t>(shape[0]) * chunks, std::min(count, kChunk),
                 [&](size_t first, size_t last) {
                   for (size_t i = first; i < last; ++i) {
                     const size_t sample = i / chunks, begin = i % chunks * kChunk;
                     draw(PhiloxStream{Number(seed, sample), stream},
                          static_cast<uint32_t>(begin / 4), to + sample * count + begin,
                          std::min(kChunk, count - begin));
                   }
                 });
}

class CpuPhiloxNormalKernel {
 public:
  explicit CpuPhiloxNormalKernel(const OrtKernelInfo* info)
      : shape_(kOp, info), stream_(StreamAttribute(kOp, info)) {}

  void Compute(const Ort::KernelContext& context) const {
    DrawAll<float>(context, kOp, shape_, stream_, SelectedKernels().philox_normal);
  }

 private:
  static constexpr const char* kOp = "PhiloxNormal";

  PhiloxShape shape_;
  uint32_t stream_;
};

class CpuPhiloxNormalAtKernel {
 public:
  explicit CpuPhiloxNormalAtKernel(const OrtKernelInfo* info) : shape_(kOp, info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input stream(context, 1);
    CheckStreamShape(kOp, stream.shape);
    DrawAll<float>(context, kOp, shape_, static_cast<uint32_t>(Number(stream, 0)),
                   SelectedKernels().philox_normal);
  }

 private:
  static constexpr const char* kOp = "PhiloxNormalAt";

  PhiloxShape shape_;
};

class CpuPhiloxIntegerKernel {
 public:
  explicit CpuPhiloxIntegerKernel(const OrtKernelInfo* info)
      : shape_(kOp, info), stream_(StreamAttribute(kOp, info)), below_(BelowAttribute(kOp, info)) {}

  void Compute(const Ort::KernelContext& context) const {
    DrawAll<int64_t>(context, kOp, shape_, stream_,
                     [&](PhiloxStream stream, uint32_t first_block, int64_t* to, size_t count) {
                       SelectedKernels().philox_integer(stream, first_block, below_, to, count);
                     });
  }

 private:
  static constexpr const char* kOp = "PhiloxInteger";

  PhiloxShape shape_;
  uint32_t stream_, below_;
};

class CpuPhiloxNormalOp : public PhiloxNormalOp<CpuPhiloxNormalOp, CpuPhiloxNormalKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
};

class CpuPhiloxNormalAtOp : public PhiloxNormalAtOp<CpuPhiloxNormalAtOp, CpuPhiloxNormalAtKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
};

class CpuPhiloxIntegerOp : public PhiloxIntegerOp<CpuPhiloxIntegerOp, CpuPhiloxIntegerKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
};

}  // namespace ddgan
