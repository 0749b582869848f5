// Self-attention on ONNX Runtime's CPU provider.
//
//     Attention(qkv)
//
// qkv is float32 [N, 3 heads, C, T], the heads of q before those of k and v, or of one head
// [N, 3 C, T]; the result has a third of its second axis. A scale is in q. It is in no file: the
// CPU engine puts it in the place of the products and the softmax between them.
#pragma once

#include <thread>

#include "../native/isa.h"
#include "../native/ort_scratch.h"

namespace ddgan {

// How one call is cut. What is computed for a query does not depend on it.
struct AttentionPlan {
  AttentionPlan(size_t heads, size_t channels, size_t tokens, const AttentionKernels& kernels,
                size_t threads) {
    const size_t all = (tokens + kernels.queries - 1) / kernels.queries;
    // A task copies its head's keys and values for itself: panels share them, unless threads would
    // have nothing to do.
    const size_t most = std::min(all, kAttentionPanels);
    panels = std::clamp<size_t>(heads * all / threads, 1, most);
    tasks_a_head = (all + panels - 1) / panels;
    tasks = heads * tasks_a_head;
    slots = std::min(threads, tasks);
    slot_floats = kernels.scratch(channels, panels);
    panels_a_head = all;
  }

  size_t panels_a_head, panels, tasks_a_head, tasks, slots, slot_floats;
};

class CpuAttentionKernel {
 public:
  explicit CpuAttentionKernel(const OrtKernelInfo*)
      : threads_(std::max(1u, std::thread::hardware_concurrency())) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input qkv(context, 0);
    const Shape& given = qkv.shape;
    if ((given.size() != 3 && given.size() != 4) || given[1] % 3 != 0) {
      throw std::invalid_argument("Attention: qkv has shape " + Text(given) +
                                  ", it must be [N, 3 C, T] or [N, 3 heads, C, T]");
    }
    Shape shape = given;
    shape[1] /= 3;
    float* const y = context.GetOutput(0, shape).GetTensorMutableData<float>();
    const auto images = static_cast<size_t>(shape[0]), tokens = static_cast<size_t>(shape.back());
    const auto heads = static_cast<size_t>(shape.size() == 4 ? shape[1] : 1);
    const auto channels = static_cast<size_t>(shape[shape.size() - 2]);
    if (images * heads * channels * tokens == 0) return;
    const AttentionKernels& kernels = SelectedKernels().attention;
    const AttentionPlan plan(images * heads, channels, tokens, kernels, threads_);
    const CpuScratch scratch(context, plan.slots * plan.slot_floats);
    ParallelTasks(context, plan.tasks, plan.slots, [&](size_t task, size_t slot) {
      const size_t head = task / plan.tasks_a_head, size = channels * tokens;
      const size_t panel = task % plan.tasks_a_head * plan.panels;
      const size_t panels = std::min(plan.panels, plan.panels_a_head - panel);
      const size_t first = head / heads * 3 * heads + head % heads;
      const float* const q = reinterpret_cast<const float*>(qkv.data) + first * size;
      kernels.attend({q, q + heads * size, q + 2 * heads * size, channels, tokens},
                     panel * kernels.queries, panels, scratch.get() + slot * plan.slot_floats,
                     y + head * size);
    });
  }

 private:
  size_t threads_;
};

class CpuAttentionOp : public OpBase<CpuAttentionOp, CpuAttentionKernel> {
 public:
  static constexpr const char* kName = "Attention";
  static constexpr const char* kProvider = nullptr;

  CpuAttentionOp()
      : OpBase({ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT}, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {}

  void InferOutput(const Inference& inference) const {
    SymbolicShape qkv;
    if (!inference.InputShape(0, &qkv) || qkv.size() < 3 || qkv[1].value < 0) return;
    qkv[1].value /= 3;
    inference.SetOutput(qkv, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
  }
};

}  // namespace ddgan
