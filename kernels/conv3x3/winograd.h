// The three transforms of the minimal filtering algorithm F(4x4, 3x3).
//
// Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), Winograd (1980): a
// tile of 4 x 4 results of a 3 x 3 correlation of one channel is
//
//     Y = A^T [(G g G^T) * (B^T d B)] A        g 3 x 3, d 6 x 6, * elementwise
//
// and takes 36 multiplications a pair of channels instead of 144. Toom and Cook's construction on
// the points 0, +-5/8, +-3/2 and infinity: their powers are exact in float32, and float32 gets half
// as much wrong on them as on the usual 0, +-1, +-2.
#pragma once

#include "../native/simd.h"

namespace ddgan::DDGAN_ISA {

constexpr size_t kTileOut = 4, kTileIn = 6;

constexpr float kA = 0.625f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;

// v = B^T d.
DDGAN_INLINE void TransformData(const F32 (&d)[kTileIn], F32 (&v)[kTileIn]) {
  const F32 even_a = MulAdd(d[2], Fill(-kB2), d[4]), odd_a = kA * MulAdd(d[1], Fill(-kB2), d[3]);
  const F32 even_b = MulAdd(d[2], Fill(-kA2), d[4]), odd_b = kB * MulAdd(d[1], Fill(-kA2), d[3]);
  v[0] = MulAdd(d[0], Fill(kA2 * kB2), MulAdd(d[2], Fill(-(kA2 + kB2)), d[4]));
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = MulAdd(d[1], Fill(kA2 * kB2), MulAdd(d[3], Fill(-(kA2 + kB2)), d[5]));
}

// u = G g.
DDGAN_INLINE void TransformWeights(const F32 (&g)[3], F32 (&u)[kTileIn]) {
  // One over the product of a point's distances to the other points.
  constexpr double a2 = kA2, b2 = kB2;
  constexpr double at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2));
  constexpr double at_b = 1 / (2 * b2 * (b2 - a2));
  const F32 even_a = MulAdd(g[2], Fill((float)(a2 * at_a)), g[0] * (float)at_a);
  const F32 even_b = MulAdd(g[2], Fill((float)(b2 * at_b)), g[0] * (float)at_b);
  const F32 odd_a = g[1] * (float)(kA * at_a), odd_b = g[1] * (float)(kB * at_b);
  u[0] = g[0] * (float)at_0;
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

// y = A^T m.
DDGAN_INLINE void TransformResult(const F32 (&m)[kTileIn], F32 (&y)[kTileOut]) {
  const F32 even_a = m[1] + m[2], odd_a = m[1] - m[2];
  const F32 even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = MulAdd(odd_a, Fill(kA), kB * odd_b);
  y[2] = MulAdd(even_a, Fill(kA2), kB2 * even_b);
  y[3] = MulAdd(odd_a, Fill(kA * kA2), MulAdd(odd_b, Fill(kB * kB2), m[5]));
}

}  // namespace ddgan::DDGAN_ISA
