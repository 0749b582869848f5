// One vector register of the instruction set that this translation unit is compiled for.
//
// A thin layer over the vector extensions of GCC and Clang: arithmetic, comparison and selection
// are the language's own operators. Intrinsics stand only where the extensions cannot say what
// the processor can do. Everything is unaligned: a tensor may start anywhere.
//
// Included only by translation units that set DDGAN_ISA. No standard library templates here nor in
// what is built on this: an inline function compiled for AVX-512 could be the copy that the linker
// keeps for the whole library, and crash an older processor.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define DDGAN_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define DDGAN_AVX2 1
#endif

#define DDGAN_INLINE [[gnu::always_inline]] inline

namespace ddgan::DDGAN_ISA {

#if DDGAN_AVX512
constexpr size_t kLanes = 16;
#elif DDGAN_AVX2
constexpr size_t kLanes = 8;
#else
constexpr size_t kLanes = 4;
#endif
constexpr size_t kWideLanes = kLanes / 2;

typedef float F32 __attribute__((vector_size(4 * kLanes)));
typedef int32_t I32 __attribute__((vector_size(4 * kLanes)));
typedef uint32_t U32 __attribute__((vector_size(4 * kLanes)));
typedef uint16_t U16 __attribute__((vector_size(2 * kLanes)));
typedef double F64 __attribute__((vector_size(8 * kWideLanes)));
typedef int64_t I64 __attribute__((vector_size(8 * kWideLanes)));
typedef uint64_t U64 __attribute__((vector_size(8 * kWideLanes)));
typedef float NarrowF32 __attribute__((vector_size(4 * kWideLanes)));

// The bits of a float16, wherever it came from.
struct Half {
  uint16_t bits;
};

DDGAN_INLINE F32 Fill(float value) { return value - F32{}; }
DDGAN_INLINE F64 FillWide(double value) { return value - F64{}; }

// a * b + c, rounded once where the processor can; contraction is off elsewhere, so that the same
// element gives the same bits in the body and in the tail of a loop.
DDGAN_INLINE F32 MulAdd(F32 a, F32 b, F32 c) {
#if DDGAN_AVX512
  return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif DDGAN_AVX2
  return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

DDGAN_INLINE F64 MulAdd(F64 a, F64 b, F64 c) {
#if DDGAN_AVX512
  return (F64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif DDGAN_AVX2
  return (F64)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

// The smaller and the larger; nan where a is nan.
DDGAN_INLINE F32 Min(F32 a, F32 b) {
#if DDGAN_AVX512
  return (F32)_mm512_min_ps((__m512)b, (__m512)a);
#else
  return b < a ? b : a;
#endif
}

DDGAN_INLINE F32 Max(F32 a, F32 b) {
#if DDGAN_AVX512
  return (F32)_mm512_max_ps((__m512)b, (__m512)a);
#else
  return b > a ? b : a;
#endif
}

// a[k] /= b[k] for normal b, to 1 unit in the last place.
template <size_t kCount>
DDGAN_INLINE void DivideBy(F32 (&a)[kCount], const F32 (&b)[kCount]) {
#if DDGAN_AVX512
  // One Newton step takes the 14 bits of the estimate to 24, at half the cost of a division.
  F32 estimate[kCount], residual[kCount];
  for (size_t k = 0; k < kCount; ++k) estimate[k] = (F32)_mm512_rcp14_ps((__m512)b[k]);
  for (size_t k = 0; k < kCount; ++k) residual[k] = MulAdd(-b[k], estimate[k], Fill(1.0f));
  for (size_t k = 0; k < kCount; ++k) estimate[k] = MulAdd(estimate[k], residual[k], estimate[k]);
  for (size_t k = 0; k < kCount; ++k) a[k] *= estimate[k];
#else
  for (size_t k = 0; k < kCount; ++k) a[k] /= b[k];
#endif
}

DDGAN_INLINE F64 Sqrt(F64 x) {
#if DDGAN_AVX512
  return (F64)_mm512_sqrt_pd((__m512d)x);
#elif DDGAN_AVX2
  return (F64)_mm256_sqrt_pd((__m256d)x);
#else
  for (size_t lane = 0; lane < kWideLanes; ++lane) x[lane] = __builtin_sqrt(x[lane]);
  return x;
#endif
}

// The product of the low 32 bits of every lane.
DDGAN_INLINE U64 MulWords(U64 a, U64 b) {
#if DDGAN_AVX512
  return (U64)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif DDGAN_AVX2
  return (U64)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (U64)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

DDGAN_INLINE F32 Widen(U16 half) {
#if DDGAN_AVX512
  return (F32)_mm512_cvtph_ps((__m256i)half);
#elif DDGAN_AVX2
  return (F32)_mm256_cvtph_ps((__m128i)half);
#else
  const U32 bits = __builtin_convertvector(half, U32);
  const U32 magnitude = (bits & 0x7FFFu) << 13;
  // float16's exponent has a bias smaller by 112; the product is exact, subnormals included.
  const U32 finite = (U32)((F32)magnitude * 0x1p112f);
  const U32 special = magnitude | 0x7F800000u;
  const I32 is_special = (I32)magnitude >= 0x0F800000;
  return (F32)((is_special ? special : finite) | (bits & 0x8000u) << 16);
#endif
}

DDGAN_INLINE U16 Narrow(F32 value) {
#if DDGAN_AVX512
  return (U16)_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif DDGAN_AVX2
  return (U16)_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const U32 bits = (U32)value;
  const U32 magnitude = bits & 0x7FFFFFFFu;
  // Nearest, ties to even: half a unit less one, and one more where the kept part is odd.
  const U32 normal = (magnitude + 0x0FFFu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
  // Below 2^-14 the addition of 0.5 itself rounds to float16's smallest unit.
  const U32 subnormal = (U32)((F32)magnitude + 0.5f) - 0x3F000000u;
  const I32 is_subnormal = (I32)magnitude < 0x38800000;
  const I32 is_infinite = (I32)magnitude >= 0x477FF000;
  const I32 is_nan = (I32)magnitude > 0x7F800000;
  U32 half = is_subnormal ? subnormal : normal;
  half = is_infinite ? (half & 0u) + 0x7C00u : half;
  half = is_nan ? (half & 0u) + 0x7E00u : half;
  return __builtin_convertvector(half | (bits >> 16 & 0x8000u), U16);
#endif
}

DDGAN_INLINE F32 Load(const float* from) {
  F32 value;
  memcpy(&value, from, sizeof value);
  return value;
}

DDGAN_INLINE F32 Load(const Half* from) {
  U16 value;
  memcpy(&value, from, sizeof value);
  return Widen(value);
}

DDGAN_INLINE void Store(float* to, F32 value) { memcpy(to, &value, sizeof value); }

DDGAN_INLINE void Store(Half* to, F32 value) {
  const U16 half = Narrow(value);
  memcpy(to, &half, sizeof half);
}

// The first `count` < kLanes elements; the lanes after them are zero.
DDGAN_INLINE F32 LoadFirst(const float* from, size_t count) {
#if DDGAN_AVX512
  return (F32)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
  F32 value{};
  memcpy(&value, from, count * sizeof *from);
  return value;
#endif
}

DDGAN_INLINE F32 LoadFirst(const Half* from, size_t count) {
#if DDGAN_AVX512
  return (F32)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << count) - 1), from));
#else
  U16 value{};
  memcpy(&value, from, count * sizeof *from);
  return Widen(value);
#endif
}

DDGAN_INLINE void StoreFirst(float* to, F32 value, size_t count) {
#if DDGAN_AVX512
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)value);
#else
  memcpy(to, &value, count * sizeof *to);
#endif
}

DDGAN_INLINE void StoreFirst(Half* to, F32 value, size_t count) {
  const U16 half = Narrow(value);
#if DDGAN_AVX512
  _mm256_mask_storeu_epi16(to, (__mmask16)((1u << count) - 1), (__m256i)half);
#else
  memcpy(to, &half, count * sizeof *to);
#endif
}

// The value with the lanes from `count` on set to zero.
DDGAN_INLINE F32 KeepFirst(F32 value, size_t count) {
  I32 lane;
  for (size_t i = 0; i < kLanes; ++i) lane[i] = (int32_t)i;
  return (F32)((I32)value & (lane < (int32_t)count));
}

// The sum of the lanes, in one fixed order.
DDGAN_INLINE float Sum(F32 value) {
  float lanes[kLanes];
  memcpy(lanes, &value, sizeof lanes);
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace ddgan::DDGAN_ISA
