// The CUDA provider's ops, registered for the CPU provider: with a fake driver they run in a stock
// ONNX Runtime, which gives them a null stream and host memory.
#include "../../kernels/adagn/ort_cuda_op.h"
#include "../../kernels/adagn_grad/ort_cuda_op.h"
#include "../../kernels/philox_normal/ort_cuda_op.h"
#include "../../kernels/reverse_step/ort_cuda_op.h"
#include "../../kernels/style_lrelu/ort_cuda_op.h"

extern "C" __attribute__((visibility("default"))) OrtStatus* ORT_API_CALL
RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  Ort::InitApi(base->GetApi(ORT_API_VERSION));
  return ddgan::Guarded([&] {
    auto& launcher = *new ddgan::CudaLauncher(ddgan::CudaKernelsFolder(options));
    auto& domain = *new Ort::CustomOpDomain("ddgan");
    const auto add = [&](OrtCustomOp* op) {
      op->GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
      domain.Add(op);
    };
    for (const auto type :
         {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
          ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16}) {
      add(new ddgan::CudaAdaGNOp(launcher, type));
      add(new ddgan::CudaAdaGNSiluOp(launcher, type));
      add(new ddgan::CudaAdaGNGradOp(launcher, type));
      add(new ddgan::CudaAdaGNSiluGradOp(launcher, type));
      add(new ddgan::CudaReverseStepOp(launcher, type));
      add(new ddgan::CudaReverseMeanOp(launcher, type));
      add(new ddgan::CudaStyleLreluOp(launcher, type));
    }
    add(new ddgan::CudaPhiloxNormalOp(launcher));
    add(new ddgan::CudaPhiloxNormalAtOp(launcher));
    add(new ddgan::CudaPhiloxIntegerOp(launcher));
    Ort::ThrowOnError(Ort::GetApi().AddCustomOpDomain(options, domain));
  });
}
