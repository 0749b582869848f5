// StyleLrelu's arithmetic on one instruction set.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/simd.h"

namespace ddgan::DDGAN_ISA {

// Products and sums are not fused: the bits are those of the function body, on every processor.
template <class T, bool kPicture>
void StyleLrelu(const void* x_raw, const float* noise, void* y_raw, size_t count,
                StyleLreluPlane plane) {
  const T* x = static_cast<const T*>(x_raw);
  T* y = static_cast<T*>(y_raw);
  const F32 scale = Fill(plane.scale), bias = Fill(plane.bias), alpha = Fill(plane.alpha),
            least = Fill(-plane.limit), most = Fill(plane.limit), flat = Fill(noise[0]);
  const auto activated = [&](F32 value, F32 picture) {
    const F32 v = (value * scale + picture) + bias;
    return Min(Max(v < 0.0f ? v * alpha : v, least), most);
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Store(y + i, activated(Load(x + i), kPicture ? Load(noise + i) : flat));
  }
  if (const size_t rest = count - i; rest > 0) {
    const F32 picture = kPicture ? LoadFirst(noise + i, rest) : flat;
    StoreFirst(y + i, activated(LoadFirst(x + i, rest), picture), rest);
  }
}

}  // namespace ddgan::DDGAN_ISA
