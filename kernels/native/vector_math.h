// Elementary functions on vectors. The coefficients are minimax fits (Remez exchange) on the
// stated intervals.
#pragma once

#include "simd.h"

namespace ddgan::DDGAN_ISA {

constexpr float kLog2E = 1.44269504f;
// ln 2 in two parts; the first has few bits, so that its product with a whole number is exact.
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;

// x = n ln 2 + r with |r| <= ln(2)/2, and e^r - 1. `shifted` holds n in the low bits of its
// significand. For |x| < 2^21.
struct ExpParts {
  F32 n, expm1_r;
  I32 shifted;
};

DDGAN_INLINE ExpParts ReduceExp(F32 x) {
  constexpr float kRoundingShift = 0x1.8p23f;
  const F32 shifted = MulAdd(x, Fill(kLog2E), Fill(kRoundingShift));
  const F32 n = shifted - kRoundingShift;
  const F32 r = MulAdd(n, Fill(-kLn2Low), MulAdd(n, Fill(-kLn2High), x));
  F32 q = Fill(0.001394600507f);
  q = MulAdd(q, r, Fill(0.008366347429f));
  q = MulAdd(q, r, Fill(0.04166629036f));
  q = MulAdd(q, r, Fill(0.1666654545f));
  q = MulAdd(q, r, Fill(0.5000000058f));
  return {n, MulAdd(q * r, r, r), (I32)shifted};
}

// x[k] = 2^x[k] for |x| <= 126, to 2e-7 relative; beyond, and of nan, some bits.
//
// Several vectors step by step beside each other: one after the other, the chain of dependent
// operations of a few of them fills the processor's scheduler, and it waits.
template <size_t kCount>
DDGAN_INLINE void Exp2(F32 (&x)[kCount]) {
  // 2^x = 2^n 2^f with n the nearest whole number.
  constexpr float kRoundingShift = 0x1.8p23f;
  constexpr float kCoefficients[] = {0.009671497991f, 0.05550733462f, 0.240222424f, 0.693146978f,
                                     1.0f};
  F32 shifted[kCount], f[kCount];
  for (size_t k = 0; k < kCount; ++k) shifted[k] = x[k] + kRoundingShift;
  for (size_t k = 0; k < kCount; ++k) f[k] = shifted[k] - kRoundingShift;
  for (size_t k = 0; k < kCount; ++k) f[k] = x[k] - f[k];
  for (size_t k = 0; k < kCount; ++k) x[k] = Fill(0.001326475485f);
  for (const float coefficient : kCoefficients) {
    for (size_t k = 0; k < kCount; ++k) x[k] = MulAdd(x[k], f[k], Fill(coefficient));
  }
  for (size_t k = 0; k < kCount; ++k) x[k] = (F32)((U32)x[k] + ((U32)shifted[k] << 23));
}

// x[k] = 2^x[k] for x <= 0, to 2e-7 relative where x > -126, below it 0; nan stays nan.
template <size_t kCount>
DDGAN_INLINE void Exp2OfNegative(F32 (&x)[kCount]) {
  F32 power[kCount];
  for (size_t k = 0; k < kCount; ++k) power[k] = x[k];
  Exp2(power);
  for (size_t k = 0; k < kCount; ++k) x[k] = x[k] > -126.0f ? power[k] : Max(x[k], F32{});
}

// p[k] = 1 + e^-y[k], or what 1 / p and y / p cannot be told from it by.
template <size_t kCount>
DDGAN_INLINE void OnePlusExpOfMinus(const F32 (&y)[kCount], F32 (&p)[kCount]) {
  // Beyond the limits 1 + e^-y is 1, or so large that what is divided by it is zero in any sum it
  // can enter.
  constexpr float kLimit = 126.0f;
  for (size_t k = 0; k < kCount; ++k) p[k] = y[k] * -kLog2E;
  for (size_t k = 0; k < kCount; ++k) p[k] = Max(p[k], Fill(-kLimit));
  for (size_t k = 0; k < kCount; ++k) p[k] = Min(p[k], Fill(kLimit));
  Exp2(p);
  for (size_t k = 0; k < kCount; ++k) p[k] = 1.0f + p[k];
}

// y[k] = y / (1 + e^-y), to 2e-7 of the larger of |y| and 1; nan stays nan.
template <size_t kCount>
DDGAN_INLINE void Silu(F32 (&y)[kCount]) {
  F32 p[kCount];
  OnePlusExpOfMinus(y, p);
  DivideBy(y, p);
}

// y[k] = s + y s (1 - s) with s = 1 / (1 + e^-y), the derivative of that, to 2e-7 of the larger of
// |y| and 1; nan stays nan.
template <size_t kCount>
DDGAN_INLINE void SiluDerivative(F32 (&y)[kCount]) {
  F32 s[kCount], p[kCount];
  OnePlusExpOfMinus(y, p);
  for (size_t k = 0; k < kCount; ++k) s[k] = Fill(1.0f);
  DivideBy(s, p);
  for (size_t k = 0; k < kCount; ++k) y[k] = MulAdd(y[k] * s[k], 1.0f - s[k], s[k]);
}

// (e^2|x| - 1) / (e^2|x| + 1) with x's sign; exact in the limit of small x.
DDGAN_INLINE F32 Tanh(F32 x) {
  constexpr float kOne = 10.0f;  // from 9.02 on tanh rounds to 1
  const F32 magnitude = (F32)((I32)x & 0x7FFFFFFF);
  const ExpParts exp = ReduceExp(2.0f * (magnitude > kOne ? Fill(kOne) : magnitude));
  const F32 power_of_two = (F32)((exp.shifted << 23) + 0x3F800000);
  const F32 expm1 = MulAdd(power_of_two, exp.expm1_r, power_of_two - 1.0f);
  const F32 tanh = expm1 / (expm1 + 2.0f);
  return (F32)((I32)tanh | ((I32)x & (int32_t)0x80000000));
}

// ln u for normal positive u, to 2e-11 relative, near u = 1 too.
DDGAN_INLINE F64 Log(F64 u) {
  constexpr int64_t kSqrtHalf = 0x3FE6A09E667F3BCD;  // bits of sqrt(1/2)
  // u = 2^e m with m in [sqrt(1/2), sqrt(2)).
  const I64 from_sqrt_half = (I64)u - kSqrtHalf;
  const I64 exponent_bits = from_sqrt_half & ~INT64_C(0xFFFFFFFFFFFFF);
  const F64 m = (F64)((I64)u - exponent_bits);
  // The exponent as a double without a conversion of 64-bit integers, which AVX2 lacks.
  constexpr double kRoundingShift = 0x1.8p52;
  const I64 e_plus_bias = (exponent_bits >> 52) + (I64)FillWide(kRoundingShift);
  const F64 e = (F64)e_plus_bias - kRoundingShift;
  const F64 s = (m - 1.0) / (m + 1.0);
  const F64 t = s * s;
  F64 p = FillWide(0.236182200847469631);
  p = MulAdd(p, t, FillWide(0.285349417890163409));
  p = MulAdd(p, t, FillWide(0.400003866762257629));
  p = MulAdd(p, t, FillWide(0.666666652357294799));
  p = MulAdd(p, t, FillWide(2.00000000000846725));
  return MulAdd(e, FillWide(0.69314718055994531), p * s);
}

struct SinCos {
  F64 sin, cos;
};

// sin and cos of 2 pi r for |r| <= 1/8, to 6e-11 relative.
DDGAN_INLINE SinCos SinCosOfTurn(F64 r) {
  const F64 t = r * r;
  F64 s = FillWide(41.4698895697023158);
  s = MulAdd(s, t, FillWide(-76.6977741222058099));
  s = MulAdd(s, t, FillWide(81.6052038071134979));
  s = MulAdd(s, t, FillWide(-41.3417021505547353));
  s = MulAdd(s, t, FillWide(6.2831853071510003));
  F64 c = FillWide(59.2027960093167655);
  c = MulAdd(c, t, FillWide(-85.4422979699579956));
  c = MulAdd(c, t, FillWide(64.9393107445742314));
  c = MulAdd(c, t, FillWide(-19.7392086330360499));
  c = MulAdd(c, t, FillWide(0.999999999943937371));
  return {s * r, c};
}

}  // namespace ddgan::DDGAN_ISA
