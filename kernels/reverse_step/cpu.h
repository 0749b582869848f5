// The arithmetic of ReverseStep and ReverseMean on one instruction set.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/simd.h"

namespace ddgan::DDGAN_ISA {

// Products and sums are not fused: the bits are those of the function body, on every processor.
template <class T, bool kNoise>
void Reverse(const void* out_raw, const float* x, const float* noise, float* x_prev, size_t count,
             ReverseCoefficients c) {
  const T* out = static_cast<const T*>(out_raw);
  const F32 c0 = Fill(c.c0), a = Fill(c.a), b = Fill(c.b), lo = Fill(c.lo), hi = Fill(c.hi),
            ct = Fill(c.ct), s = Fill(c.s);
  const auto step = [&](F32 raw, F32 state, F32 z) {
    const F32 x_0 = Min(Max(a * raw + b * state, lo), hi);
    F32 value = c0 * x_0 + ct * state;
    if constexpr (kNoise) value = value + s * z;
    return value;
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32 z = kNoise ? Load(noise + i) : F32{};
    Store(x_prev + i, step(Load(out + i), Load(x + i), z));
  }
  if (const size_t rest = count - i; rest > 0) {
    const F32 z = kNoise ? LoadFirst(noise + i, rest) : F32{};
    StoreFirst(x_prev + i, step(LoadFirst(out + i, rest), LoadFirst(x + i, rest), z), rest);
  }
}

}  // namespace ddgan::DDGAN_ISA
