// PhiloxNormal on ONNX Runtime's CPU provider.
#pragma once

#include <cstring>

#include "../native/isa.h"
#include "ort_schema.h"

namespace ddgan {

class CpuPhiloxNormalKernel {
 public:
  explicit CpuPhiloxNormalKernel(const OrtKernelInfo* info) : attributes_(info) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input seed(context, 0);
    CheckSeedShape(seed.shape);
    Shape shape = attributes_.shape;
    shape.insert(shape.begin(), seed.shape[0]);
    float* to = context.GetOutput(0, shape).GetTensorMutableData<float>();
    const size_t count = attributes_.count, chunks = (count + kChunk - 1) / kChunk;
    ParallelRanges(context, static_cast<size_t>(shape[0]) * chunks, std::min(count, kChunk),
                   [&](size_t first, size_t last) {
                     for (size_t i = first; i < last; ++i) {
                       const size_t sample = i / chunks, begin = i % chunks * kChunk;
                       PhiloxStream stream{0, attributes_.stream};
                       std::memcpy(&stream.seed, seed.data + sample * sizeof stream.seed,
                                   sizeof stream.seed);
                       SelectedKernels().philox_normal(stream, static_cast<uint32_t>(begin / 4),
                                                       to + sample * count + begin,
                                                       std::min(kChunk, count - begin));
                     }
                   });
  }

 private:
  // Elements; whole Philox blocks of four.
  static constexpr size_t kChunk = 4096;

  PhiloxAttributes attributes_;
};

class CpuPhiloxNormalOp : public PhiloxNormalOp<CpuPhiloxNormalOp, CpuPhiloxNormalKernel> {
 public:
  static constexpr const char* kProvider = nullptr;
};

}  // namespace ddgan
