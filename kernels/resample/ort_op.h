// Resampling by two on ONNX Runtime's CPU provider.
//
//     ResampleUp(x[, bias]), ResampleDown(x[, bias])
//
// with attributes vertical and horizontal, four taps each (cpu.h). x is float32 [N, C, H, W], bias
// [C]. They are in no file: the CPU engine puts them in the place of depthwise convolutions with one
// separable filter.
#pragma once

#include <thread>

#include "../native/isa.h"
#include "../native/ort_scratch.h"

namespace ddgan {

template <bool kUp>
class CpuResampleKernel {
 public:
  static constexpr const char* kName = kUp ? "ResampleUp" : "ResampleDown";

  explicit CpuResampleKernel(const OrtKernelInfo* info)
      : threads_(std::max(1u, std::thread::hardware_concurrency())) {
    const Attributes attributes(kName, info);
    attributes.Floats("vertical", taps_.vertical);
    attributes.Floats("horizontal", taps_.horizontal);
  }

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0);
    if (x.shape.size() != 4 || x.shape[2] < 2 || x.shape[3] < 2) {
      throw std::invalid_argument(std::string(kName) + ": x has shape " + Text(x.shape) +
                                  ", it must be [N, C, H, W] of at least 2 x 2 pixels");
    }
    const float* bias = nullptr;
    if (context.GetInputCount() > 1) {
      const Input given(context, 1);
      if (given.shape != Shape{x.shape[1]}) {
        throw std::invalid_argument(std::string(kName) + ": bias has shape " + Text(given.shape) +
                                    ", it must be [" + std::to_string(x.shape[1]) + "]");
      }
      bias = reinterpret_cast<const float*>(given.data);
    }
    Shape shape = x.shape;
    for (size_t axis : {2, 3}) shape[axis] = kUp ? 2 * shape[axis] : shape[axis] / 2;
    float* const y = context.GetOutput(0, shape).GetTensorMutableData<float>();
    const auto planes = static_cast<size_t>(x.shape[0] * x.shape[1]);
    const auto height = static_cast<size_t>(x.shape[2]), width = static_cast<size_t>(x.shape[3]);
    const auto area = static_cast<size_t>(shape[2] * shape[3]);
    if (planes == 0) return;
    const ResampleKernels& kernels = SelectedKernels().resample;
    const size_t row = width + 2 * kernels.margin, together = std::max<size_t>(1, kTask / area);
    const size_t tasks = (planes + together - 1) / together, slots = std::min(threads_, tasks);
    const CpuScratch scratch(context, slots * row);
    std::fill_n(scratch.get(), slots * row, 0.0f);
    const auto channels = static_cast<size_t>(x.shape[1]);
    ParallelTasks(context, tasks, slots, [&](size_t task, size_t slot) {
      const size_t last = std::min(planes, (task + 1) * together);
      for (size_t plane = task * together; plane < last; ++plane) {
        const float* const from = reinterpret_cast<const float*>(x.data) + plane * height * width;
        (kUp ? kernels.up : kernels.down)(from, height, width, taps_,
                                          bias ? bias[plane % channels] : 0.0f,
                                          scratch.get() + slot * row, y + plane * area);
      }
    });
  }

 private:
  // Elements of a result that pay for handing them over to a thread.
  static constexpr size_t kTask = 16384;

  ResampleTaps taps_;
  size_t threads_;
};

template <class Op, bool kUp>
class CpuResampleOp : public OpBase<Op, CpuResampleKernel<kUp>> {
 public:
  static constexpr const char* kName = CpuResampleKernel<kUp>::kName;
  static constexpr const char* kProvider = nullptr;

  CpuResampleOp()
      : OpBase<Op, CpuResampleKernel<kUp>>(
            {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}

  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const {
    return index == 1 ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
  }

  void InferOutput(const Inference& inference) const {
    SymbolicShape x;
    if (!inference.InputShape(0, &x) || x.size() != 4) return;
    for (size_t axis : {2, 3}) {
      if (x[axis].value < 0) return;
      x[axis].value = kUp ? 2 * x[axis].value : x[axis].value / 2;
    }
    inference.SetOutput(x, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
  }
};

class CpuResampleUpOp : public CpuResampleOp<CpuResampleUpOp, true> {};
class CpuResampleDownOp : public CpuResampleOp<CpuResampleDownOp, false> {};

}  // namespace ddgan
