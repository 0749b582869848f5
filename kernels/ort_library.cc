// The library that ONNX Runtime loads: RegisterCustomOps puts every op's kernels into domain ddgan.
#include <map>
#include <mutex>

#include "adagn/ort_cuda_op.h"
#include "adagn/ort_op.h"
#include "adagn_grad/ort_cuda_op.h"
#include "adagn_grad/ort_op.h"
#include "attention/ort_op.h"
#include "conv3x3/ort_op.h"
#include "packed_conv/ort_op.h"
#include "philox_normal/ort_cuda_op.h"
#include "philox_normal/ort_op.h"
#include "posterior_sample/ort_op.h"
#include "resample/ort_op.h"
#include "reverse_step/ort_cuda_op.h"
#include "reverse_step/ort_op.h"
#include "style_lrelu/ort_cuda_op.h"
#include "style_lrelu/ort_op.h"

namespace ddgan {
namespace {

// ONNX Runtime keeps pointers to the ops for as long as a session lives, so they live for ever:
// made once, never freed.
class Domain {
 public:
  explicit Domain(const std::string& cuda_kernels) : cuda_(cuda_kernels) {
    const auto floats = {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                         ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16};
    for (const auto x : floats) {
      for (const auto scale : floats) {
        for (const auto shift : floats) {
          Add<CpuAdaGNOp>(x, scale, shift);
          Add<CpuAdaGNSiluOp>(x, scale, shift);
        }
        Add<CpuAdaGNGradOp>(x, scale);
        Add<CpuAdaGNSiluGradOp>(x, scale);
      }
      Add<CpuPosteriorSampleOp>(x);
      Add<CpuReverseStepOp>(x);
      Add<CpuReverseMeanOp>(x);
      Add<CpuStyleLreluOp>(x);
    }
    Add<CpuPhiloxNormalOp>();
    Add<CpuPhiloxNormalAtOp>();
    Add<CpuPhiloxIntegerOp>();
    Add<CpuAttentionOp>();
    Add<CpuConv3x3Op>();
    Add<CpuPackOp>();
    Add<CpuPackAdaGNOp>();
    Add<CpuPackAdaGNSiluOp>();
    Add<CpuUint8ConvOp>();
    Add<CpuBfloat16ConvOp>();
    Add<CpuResampleUpOp>();
    Add<CpuResampleDownOp>();
    for (const auto type :
         {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
          ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16}) {
      domain_.Add(new CudaAdaGNOp(cuda_, type));
      domain_.Add(new CudaAdaGNSiluOp(cuda_, type));
      domain_.Add(new CudaAdaGNGradOp(cuda_, type));
      domain_.Add(new CudaAdaGNSiluGradOp(cuda_, type));
      domain_.Add(new CudaReverseStepOp(cuda_, type));
      domain_.Add(new CudaReverseMeanOp(cuda_, type));
      domain_.Add(new CudaStyleLreluOp(cuda_, type));
    }
    domain_.Add(new CudaPhiloxNormalOp(cuda_));
    domain_.Add(new CudaPhiloxNormalAtOp(cuda_));
    domain_.Add(new CudaPhiloxIntegerOp(cuda_));
  }

  // The one whose CUDA kernels are in this folder. Not for two threads at once.
  static Domain& With(const std::string& cuda_kernels) {
    static auto& domains = *new std::map<std::string, Domain>;
    return domains.try_emplace(cuda_kernels, cuda_kernels).first->second;
  }

  OrtCustomOpDomain* get() { return domain_; }

 private:
  template <class Op, class... Types>
  void Add(Types... types) {
    domain_.Add(new Op(types...));
  }

  CudaLauncher cuda_;
  Ort::CustomOpDomain domain_{"ddgan"};
};

}  // namespace
}  // namespace ddgan

extern "C" __attribute__((visibility("default"))) OrtStatus* ORT_API_CALL
RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ddgan::kApiVersion);
  if (api == nullptr) {
    const auto message = "ddgan: the library needs ONNX Runtime 1." +
                         std::to_string(ddgan::kApiVersion) + " or newer, this is " +
                         base->GetVersionString();
    return base->GetApi(1)->CreateStatus(ORT_FAIL, message.c_str());
  }
  // Applications may open sessions in several threads.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  // Other sessions may be running, and read it: written only where it is new.
  static const OrtApi* initialized = nullptr;
  if (initialized != api) Ort::InitApi(initialized = api);
  return ddgan::Guarded([&] {
    ddgan::SelectedKernels();  // a wrong DDGAN_ISA is told here
    ddgan::Domain& domain = ddgan::Domain::With(ddgan::CudaKernelsFolder(options));
    Ort::ThrowOnError(api->AddCustomOpDomain(options, domain.get()));
  });
}
