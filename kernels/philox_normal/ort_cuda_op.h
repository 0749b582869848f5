// The Philox ops on ONNX Runtime's CUDA provider.
#pragma once

#include "../native/ort_cuda.h"
#include "ort_schema.h"

namespace ddgan {

class CudaPhiloxKernel : public CudaKernel {
 public:
  CudaPhiloxKernel(const OrtKernelInfo* info, const CudaLauncher& launcher, const char* op)
      : CudaKernel(info, launcher, op, "linear"), op_(op), shape_(op, info) {}

 protected:
  // `rest`: sizes and tensors of one op alone.
  void Draw(const Ort::KernelContext& context, const char* output,
            std::initializer_list<std::pair<std::string_view, int64_t>> rest,
            const CudaLauncher::Tensors& inputs = {}) const {
    const Input seed(context, 0);
    const void* const drawn =
        context.GetOutput(0, shape_.Of(op_, seed.shape)).GetTensorRawData();
    const int64_t batch = seed.shape[0], elements = static_cast<int64_t>(shape_.count);
    if (batch * elements == 0) return;
    Sizes sizes{{"batch", batch}, {"elements", elements}};
    for (const auto& [name, value] : rest) sizes.Add(name, value);
    CudaLauncher::Tensors tensors = {{"seed", seed.data}, {output, drawn}};
    tensors.insert(tensors.end(), inputs.begin(), inputs.end());
    CudaScratch scratch(context);
    Run(context, scratch, sizes, tensors);
  }

  const char* op_;

 private:
  PhiloxShape shape_;
};

class CudaPhiloxNormalKernel : public CudaPhiloxKernel {
 public:
  CudaPhiloxNormalKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaPhiloxKernel(info, launcher, "PhiloxNormal"), stream_(StreamAttribute(op_, info)) {}

  void Compute(const Ort::KernelContext& context) const {
    Draw(context, "noise", {{"stream", Bits(stream_)}});
  }

 private:
  uint32_t stream_;
};

class CudaPhiloxNormalAtKernel : public CudaPhiloxKernel {
 public:
  CudaPhiloxNormalAtKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaPhiloxKernel(info, launcher, "PhiloxNormalAt") {}

  void Compute(const Ort::KernelContext& context) const {
    const Input stream(context, 1);
    CheckStreamShape(op_, stream.shape);
    Draw(context, "noise", {}, {{"stream", stream.data}});
  }
};

class CudaPhiloxIntegerKernel : public CudaPhiloxKernel {
 public:
  CudaPhiloxIntegerKernel(const OrtKernelInfo* info, const CudaLauncher& launcher)
      : CudaPhiloxKernel(info, launcher, "PhiloxInteger"),
        stream_(StreamAttribute(op_, info)),
        below_(BelowAttribute(op_, info)) {}

  void Compute(const Ort::KernelContext& context) const {
    Draw(context, "values", {{"stream", Bits(stream_)}, {"below", Bits(below_)}});
  }

 private:
  uint32_t stream_, below_;
};

class CudaPhiloxNormalOp
    : public CudaOp<CudaPhiloxNormalOp, CudaPhiloxNormalKernel, PhiloxNormalOp> {
 public:
  using CudaOp::CudaOp;
};

class CudaPhiloxNormalAtOp
    : public CudaOp<CudaPhiloxNormalAtOp, CudaPhiloxNormalAtKernel, PhiloxNormalAtOp> {
 public:
  using CudaOp::CudaOp;
};

class CudaPhiloxIntegerOp
    : public CudaOp<CudaPhiloxIntegerOp, CudaPhiloxIntegerKernel, PhiloxIntegerOp> {
 public:
  using CudaOp::CudaOp;
};

}  // namespace ddgan
