// Resampling by two with a separable filter of 4 x 4 taps, on one instruction set.
//
// Along each axis, with zeros beyond the ends (stride 2, padding 1), and then plus a bias:
//
//     up      y[2m] = w1 x[m] + w3 x[m-1],  y[2m+1] = w2 x[m] + w0 x[m+1]
//     down    y[m] = w0 x[2m-1] + w1 x[2m] + w2 x[2m+1] + w3 x[2m+2]
//
// Rows are combined first, into one that stands between zeros; then its pixels.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/turn.h"

namespace ddgan::DDGAN_ISA {

// Of the row in between, before its first pixel and after its last.
constexpr size_t kResampleMargin = 2 * kLanes + 4;

template <size_t... i>
DDGAN_INLINE void InterleaveLanes(F32& a, F32& b, LaneIndices<i...>) {
  const F32 low = __builtin_shufflevector(a, b, (int)(i / 2 + i % 2 * kLanes)...);
  b = __builtin_shufflevector(a, b, (int)((kLanes + i) / 2 + i % 2 * kLanes)...);
  a = low;
}

// a and b are 2 kLanes elements one after another: a becomes the even ones, b the odd ones.
template <size_t... i>
DDGAN_INLINE void SeparateLanes(F32& a, F32& b, LaneIndices<i...>) {
  const F32 even = __builtin_shufflevector(a, b, (int)(2 * i)...);
  b = __builtin_shufflevector(a, b, (int)(2 * i + 1)...);
  a = even;
}

// to[x] = sum of taps[k] rows[k][x]; a row that is null is zero.
template <size_t kRows>
DDGAN_INLINE void CombineRows(const float* const (&rows)[kRows], const float (&taps)[kRows],
                              size_t width, float* to) {
  for (size_t x = 0; x < width; x += kLanes) {
    F32 sum{};
    for (size_t k = 0; k < kRows; ++k) {
      if (rows[k] == nullptr) continue;
      const F32 value = width - x < kLanes ? LoadFirst(rows[k] + x, width - x) : Load(rows[k] + x);
      sum = MulAdd(value, Fill(taps[k]), sum);
    }
    Store(to + x, sum);
  }
}

DDGAN_INLINE void StoreRow(float* to, F32 value, size_t left) {
  if (left >= kLanes) {
    Store(to, value);
  } else if (left > 0) {
    StoreFirst(to, value, left);
  }
}

// [H, W] to [2H, 2W]. row: W + 2 kResampleMargin elements of scratch that were zero before the first
// image of this width: beside a row nothing is written, and what was there would be slow where it is
// no normal number.
inline void ResampleUp(const float* x, size_t height, size_t width, ResampleTaps taps, float bias,
                       float* row, float* y) {
  float* const middle = row + kResampleMargin;
  const float* const w = taps.horizontal;
  for (size_t out = 0; out < 2 * height; ++out, y += 2 * width) {
    const size_t m = out / 2, other = out % 2 ? m + 1 : m - 1;  // above the image it is huge
    const float* const rows[2] = {x + m * width, other < height ? x + other * width : nullptr};
    const float* const v = taps.vertical;
    const float weights[2] = {out % 2 ? v[2] : v[1], out % 2 ? v[0] : v[3]};
    CombineRows(rows, weights, width, middle);
    middle[-1] = middle[width] = 0.0f;
    for (size_t j = 0; j < width; j += kLanes) {
      const F32 here = Load(middle + j);
      F32 even = MulAdd(Load(middle + j - 1), Fill(w[3]), here * w[1]) + bias;
      F32 odd = MulAdd(Load(middle + j + 1), Fill(w[0]), here * w[2]) + bias;
      InterleaveLanes(even, odd, Lanes{});
      const size_t left = 2 * (width - j);
      StoreRow(y + 2 * j, even, left);
      if (left > kLanes) StoreRow(y + 2 * j + kLanes, odd, left - kLanes);
    }
  }
}

// [H, W] to [(H - 2) / 2 + 1, (W - 2) / 2 + 1]. row: as above.
inline void ResampleDown(const float* x, size_t height, size_t width, ResampleTaps taps, float bias,
                         float* row, float* y) {
  float* const middle = row + kResampleMargin;
  const float* const w = taps.horizontal;
  const size_t out_height = height / 2, out_width = width / 2;
  for (size_t out = 0; out < out_height; ++out, y += out_width) {
    const float* rows[4];
    for (size_t k = 0; k < 4; ++k) {
      const size_t from = 2 * out + k - 1;
      rows[k] = from < height ? x + from * width : nullptr;
    }
    CombineRows(rows, taps.vertical, width, middle);
    middle[-1] = middle[width] = 0.0f;
    for (size_t j = 0; j < out_width; j += kLanes) {
      const float* const from = middle + 2 * j - 1;
      F32 a = Load(from), b = Load(from + kLanes), c = Load(from + 2), d = Load(from + 2 + kLanes);
      SeparateLanes(a, b, Lanes{});
      SeparateLanes(c, d, Lanes{});
      const F32 sum = MulAdd(d, Fill(w[3]), MulAdd(c, Fill(w[2]), MulAdd(b, Fill(w[1]), a * w[0])));
      StoreRow(y + j, sum + bias, out_width - j);
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
