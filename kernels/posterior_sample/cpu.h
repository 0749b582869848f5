// PosteriorSample's arithmetic on one instruction set.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/vector_math.h"

namespace ddgan::DDGAN_ISA {

template <class T, bool kTanh>
void Posterior(const void* x0_raw, const float* x_t, const float* noise, float* x_prev,
               size_t count, PosteriorCoefficients c) {
  const T* raw = static_cast<const T*>(x0_raw);
  const F32 coef_x0 = Fill(c.x0), coef_xt = Fill(c.xt), sigma = Fill(c.sigma);
  const auto draw = [&](F32 x_0, F32 x, F32 z) {
    if constexpr (kTanh) x_0 = Tanh(x_0);
    return MulAdd(sigma, z, MulAdd(coef_x0, x_0, coef_xt * x));
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Store(x_prev + i, draw(Load(raw + i), Load(x_t + i), Load(noise + i)));
  }
  if (const size_t rest = count - i; rest > 0) {
    const F32 value =
        draw(LoadFirst(raw + i, rest), LoadFirst(x_t + i, rest), LoadFirst(noise + i, rest));
    StoreFirst(x_prev + i, value, rest);
  }
}

}  // namespace ddgan::DDGAN_ISA
