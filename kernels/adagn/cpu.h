// AdaGN's arithmetic on one instruction set.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/vector_math.h"

namespace ddgan::DDGAN_ISA {

// 16 KiB of float32: the second pass over a block reads it from the first-level cache.
constexpr size_t kMomentsBlock = 4096;

// Two passes over one block: the mean in float32, then the distances to it. Their sum, which
// would be zero without rounding, corrects both results.
template <class T>
Moments BlockMoments(const T* x, size_t count) {
  constexpr size_t kStride = 4 * kLanes;
  F32 sum[4] = {};
  size_t i = 0;
  for (; i + kStride <= count; i += kStride) {
    for (size_t k = 0; k < 4; ++k) sum[k] += Load(x + i + k * kLanes);
  }
  for (; i + kLanes <= count; i += kLanes) sum[0] += Load(x + i);
  if (i < count) sum[1] += LoadFirst(x + i, count - i);
  const float mean = Sum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)count;

  F32 rest[4] = {}, squares[4] = {};
  const auto add = [&](size_t k, F32 distance) {
    rest[k] += distance;
    squares[k] = MulAdd(distance, distance, squares[k]);
  };
  for (i = 0; i + kStride <= count; i += kStride) {
    for (size_t k = 0; k < 4; ++k) add(k, Load(x + i + k * kLanes) - mean);
  }
  for (; i + kLanes <= count; i += kLanes) add(0, Load(x + i) - mean);
  if (i < count) add(1, KeepFirst(LoadFirst(x + i, count - i) - mean, count - i));
  const double n = (double)count;
  const double correction = Sum((rest[0] + rest[1]) + (rest[2] + rest[3])) / n;
  const double about_mean = Sum((squares[0] + squares[1]) + (squares[2] + squares[3]));
  const double squared = about_mean - n * correction * correction;
  return {n, mean + correction, squared > 0.0 ? squared : (squared == squared ? 0.0 : squared)};
}

template <class T>
Moments MomentsOf(const void* x, size_t count) {
  const T* elements = static_cast<const T*>(x);
  Moments total;
  for (size_t i = 0; i < count; i += kMomentsBlock) {
    const size_t rest = count - i;
    total = Merge(total, BlockMoments(elements + i, rest < kMomentsBlock ? rest : kMomentsBlock));
  }
  return total;
}

template <bool kSilu, size_t kCount>
DDGAN_INLINE void NormalizeVectors(F32 (&v)[kCount], float center, F32 gain, F32 bias) {
  for (size_t k = 0; k < kCount; ++k) v[k] = v[k] - center;
  for (size_t k = 0; k < kCount; ++k) v[k] = MulAdd(v[k], gain, bias);
  if constexpr (kSilu) Silu(v);
}

// As many whole bundles of kCount vectors from element i on as fit into a row; returns their end.
template <size_t kCount, bool kSilu, class T>
DDGAN_INLINE size_t NormalizeBundles(const T* from, T* to, size_t i, size_t length, float center,
                                     F32 gain, F32 bias) {
  for (; i + kCount * kLanes <= length; i += kCount * kLanes) {
    F32 v[kCount];
    for (size_t k = 0; k < kCount; ++k) v[k] = Load(from + i + k * kLanes);
    NormalizeVectors<kSilu>(v, center, gain, bias);
    for (size_t k = 0; k < kCount; ++k) Store(to + i + k * kLanes, v[k]);
  }
  return i;
}

template <class T, bool kSilu>
void Normalize(const void* x, void* y, size_t rows, size_t length, float center, const float* gains,
               const float* biases) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(y);
  for (size_t row = 0; row < rows; ++row, from += length, to += length) {
    const F32 gain = Fill(gains[row]), bias = Fill(biases[row]);
    size_t i = NormalizeBundles<8, kSilu>(from, to, 0, length, center, gain, bias);
    i = NormalizeBundles<2, kSilu>(from, to, i, length, center, gain, bias);
    i = NormalizeBundles<1, kSilu>(from, to, i, length, center, gain, bias);
    if (i < length) {
      F32 v[1] = {LoadFirst(from + i, length - i)};
      NormalizeVectors<kSilu>(v, center, gain, bias);
      StoreFirst(to + i, v[0], length - i);
    }
  }
}

template <class T>
void ToFloat(const void* from, float* to, size_t count) {
  const T* elements = static_cast<const T*>(from);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(to + i, Load(elements + i));
  if (i < count) StoreFirst(to + i, LoadFirst(elements + i, count - i), count - i);
}

}  // namespace ddgan::DDGAN_ISA
