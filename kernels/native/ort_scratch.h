// Scratch memory of one call of a kernel on ONNX Runtime's CPU provider.
#pragma once

#include <atomic>
#include <memory>
#include <new>

#include "ort_support.h"

namespace ddgan {

// Floats from the session's own allocator, which keeps them for the calls that follow.
class CpuScratch {
 public:
  CpuScratch(const Ort::KernelContext& context, size_t floats)
      : where_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)),
        allocator_(context.GetAllocator(*static_cast<const OrtMemoryInfo*>(where_))),
        data_(allocator_->Alloc(allocator_.get(), floats * sizeof(float)), {allocator_.get()}) {
    if (!data_) throw std::bad_alloc();
  }

  float* get() const { return static_cast<float*>(data_.get()); }

 private:
  struct Release {
    void operator()(OrtAllocator* allocator) const { Ort::GetApi().ReleaseAllocator(allocator); }
  };
  struct Free {
    void operator()(void* data) const { allocator->Free(allocator, data); }

    OrtAllocator* allocator;
  };

  Ort::MemoryInfo where_;
  std::unique_ptr<OrtAllocator, Release> allocator_;
  std::unique_ptr<void, Free> data_;
};

// Runs run(task, slot) for every task below `tasks` on the session's threads; a slot, below
// `slots`, is never in two threads at once. `run` must not throw.
template <class Run>
void ParallelTasks(const Ort::KernelContext& context, size_t tasks, size_t slots, const Run& run) {
  std::atomic<size_t> next = 0;
  const auto work = [&](size_t slot) {
    for (size_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      run(task, slot);
    }
  };
  if (std::min(tasks, slots) == 1) return work(0);
  using Work = decltype(work);
  context.ParallelFor([](void* body, size_t slot) { (*static_cast<Work*>(body))(slot); },
                      std::min(tasks, slots), 0,
                      const_cast<void*>(static_cast<const void*>(&work)));
}

}  // namespace ddgan
