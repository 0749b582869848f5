// The arithmetic of AdaGN's gradient on one instruction set.
//
// With c = x - center and v = r u = dy * gain * act'(c * gain + bias), the gradient is
// dx = v - mean(v) - z mean(v z), and v z = r (c - rest) v: sums of v and of v c give both means.
#pragma once

#include "../adagn/cpu.h"

namespace ddgan::DDGAN_ISA {

// v and c in the place of dy and x.
template <bool kSilu, size_t kCount>
DDGAN_INLINE void Backward(F32 (&v)[kCount], F32 (&c)[kCount], float center, F32 gain, F32 bias) {
  for (size_t k = 0; k < kCount; ++k) c[k] = c[k] - center;
  if constexpr (kSilu) {
    F32 derivative[kCount];
    for (size_t k = 0; k < kCount; ++k) derivative[k] = MulAdd(c[k], gain, bias);
    SiluDerivative(derivative);
    for (size_t k = 0; k < kCount; ++k) v[k] = v[k] * derivative[k];
  }
  for (size_t k = 0; k < kCount; ++k) v[k] = v[k] * gain;
}

// The sums over at most kMomentsBlock elements of one row.
template <class T, bool kSilu>
GradientSums BlockGradientSums(const T* dy, const T* x, size_t count, float center, F32 gain,
                               F32 bias) {
  constexpr size_t kBundle = 4;
  F32 sum_v[kBundle] = {}, sum_vc[kBundle] = {};
  size_t i = 0;
  for (; i + kBundle * kLanes <= count; i += kBundle * kLanes) {
    F32 v[kBundle], c[kBundle];
    for (size_t k = 0; k < kBundle; ++k) v[k] = Load(dy + i + k * kLanes);
    for (size_t k = 0; k < kBundle; ++k) c[k] = Load(x + i + k * kLanes);
    Backward<kSilu>(v, c, center, gain, bias);
    for (size_t k = 0; k < kBundle; ++k) sum_v[k] += v[k];
    for (size_t k = 0; k < kBundle; ++k) sum_vc[k] = MulAdd(v[k], c[k], sum_vc[k]);
  }
  for (; i < count; i += kLanes) {
    const size_t rest = count - i;
    const bool whole = rest >= kLanes;
    F32 v[1] = {whole ? Load(dy + i) : LoadFirst(dy + i, rest)};
    F32 c[1] = {whole ? Load(x + i) : LoadFirst(x + i, rest)};
    // Past the end dy is zero, and so is v.
    Backward<kSilu>(v, c, center, gain, bias);
    sum_v[0] += v[0];
    sum_vc[0] = MulAdd(v[0], c[0], sum_vc[0]);
  }
  return {Sum((sum_v[0] + sum_v[1]) + (sum_v[2] + sum_v[3])),
          Sum((sum_vc[0] + sum_vc[1]) + (sum_vc[2] + sum_vc[3]))};
}

template <class T, bool kSilu>
GradientSums SumGradient(const void* dy_raw, const void* x_raw, size_t rows, size_t length,
                         float center, const float* gains, const float* biases) {
  const T* dy = static_cast<const T*>(dy_raw);
  const T* x = static_cast<const T*>(x_raw);
  GradientSums total;
  for (size_t row = 0; row < rows; ++row, dy += length, x += length) {
    const F32 gain = Fill(gains[row]), bias = Fill(biases[row]);
    for (size_t i = 0; i < length; i += kMomentsBlock) {
      const size_t rest = length - i, count = rest < kMomentsBlock ? rest : kMomentsBlock;
      total = Merge(total, BlockGradientSums<T, kSilu>(dy + i, x + i, count, center, gain, bias));
    }
  }
  return total;
}

template <class T, bool kSilu>
void Gradient(const void* dy_raw, const void* x_raw, void* dx_raw, size_t rows, size_t length,
              float center, const float* gains, const float* biases, float slope, float offset) {
  constexpr size_t kBundle = 4;
  const T* dy = static_cast<const T*>(dy_raw);
  const T* x = static_cast<const T*>(x_raw);
  T* dx = static_cast<T*>(dx_raw);
  const F32 slopes = Fill(slope);
  for (size_t row = 0; row < rows; ++row, dy += length, x += length, dx += length) {
    const F32 gain = Fill(gains[row]), bias = Fill(biases[row]);
    size_t i = 0;
    for (; i + kBundle * kLanes <= length; i += kBundle * kLanes) {
      F32 v[kBundle], c[kBundle];
      for (size_t k = 0; k < kBundle; ++k) v[k] = Load(dy + i + k * kLanes);
      for (size_t k = 0; k < kBundle; ++k) c[k] = Load(x + i + k * kLanes);
      Backward<kSilu>(v, c, center, gain, bias);
      for (size_t k = 0; k < kBundle; ++k) {
        Store(dx + i + k * kLanes, MulAdd(c[k], slopes, v[k] + offset));
      }
    }
    for (; i < length; i += kLanes) {
      const size_t rest = length - i;
      const bool whole = rest >= kLanes;
      F32 v[1] = {whole ? Load(dy + i) : LoadFirst(dy + i, rest)};
      F32 c[1] = {whole ? Load(x + i) : LoadFirst(x + i, rest)};
      Backward<kSilu>(v, c, center, gain, bias);
      const F32 result = MulAdd(c[0], slopes, v[0] + offset);
      whole ? Store(dx + i, result) : StoreFirst(dx + i, result, rest);
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
