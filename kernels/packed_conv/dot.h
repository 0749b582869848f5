// Sums of products of 8-bit integers and of bfloat16s on one instruction set: 32 outputs of some
// positions together.
//
// Values come in words of four bytes: four integers without a sign, or two bfloat16s; weights in
// words of four integers with one, or two bfloat16s. A word's products are summed in 32 bits. Sums
// of integers are exact, so that every instruction set gives the same; those of bfloat16s are float32
// and of one order an instruction set, whatever stands beside them.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/simd.h"

namespace ddgan::DDGAN_ISA {

// Positions that are computed together: their sums, two vectors of weights and one value have to fit
// into the registers.
#if DDGAN_AVX512
constexpr size_t kPositionsTogether = 12;
#elif DDGAN_AVX2
constexpr size_t kPositionsTogether = 5;
#else
constexpr size_t kPositionsTogether = 4;
#endif

DDGAN_INLINE U32 LoadWords(const uint8_t* from) {
  U32 words;
  memcpy(&words, from, sizeof words);
  return words;
}

DDGAN_INLINE U32 FillWord(const uint8_t* from) {
  uint32_t word;
  memcpy(&word, from, sizeof word);
  return word + U32{};
}

// Each struct below adds a word's products to a sum: Value and Weight are what a word is made ready
// to, once for all it is multiplied with.

// Any processor.
struct IntegersInAnyWay {
  using Sum = I32;
  struct Bytes {
    I32 byte[4];
  };
  DDGAN_INLINE static Bytes Value(U32 word) {
    return {{(I32)(word & 0xFFu), (I32)(word >> 8 & 0xFFu), (I32)(word >> 16 & 0xFFu),
             (I32)(word >> 24)}};
  }
  DDGAN_INLINE static Bytes Weight(U32 word) {
    return {{(I32)(word << 24) >> 24, (I32)(word << 16) >> 24, (I32)(word << 8) >> 24,
             (I32)word >> 24}};
  }
  DDGAN_INLINE static Sum Add(Sum sum, const Bytes& value, const Bytes& weight) {
    for (size_t k = 0; k < 4; ++k) sum += value.byte[k] * weight.byte[k];
    return sum;
  }
};

struct Bfloat16InAnyWay {
  using Sum = F32;
  struct Pair {
    F32 low, high;
  };
  DDGAN_INLINE static Pair Value(U32 word) { return {(F32)(word << 16), (F32)(word & 0xFFFF0000u)}; }
  DDGAN_INLINE static Pair Weight(U32 word) { return Value(word); }
  DDGAN_INLINE static Sum Add(Sum sum, const Pair& value, const Pair& weight) {
    return MulAdd(value.high, weight.high, MulAdd(value.low, weight.low, sum));
  }
};

#if DDGAN_AVX512 || DDGAN_AVX2

// As pairs of 16 bits: the instruction for pairs of 8 bits would saturate.
struct IntegersBySixteenBits {
  using Sum = I32;
  struct Pairs {
    U32 even, odd;
  };
  DDGAN_INLINE static Pairs Value(U32 word) { return {word & 0x00FF00FFu, word >> 8 & 0x00FF00FFu}; }
  DDGAN_INLINE static Pairs Weight(U32 word) {
    typedef int16_t I16 __attribute__((vector_size(4 * kLanes)));
    return {(U32)((I16)((I16)word << 8) >> 8), (U32)((I16)word >> 8)};
  }
  DDGAN_INLINE static Sum Add(Sum sum, const Pairs& value, const Pairs& weight) {
    return sum + (AddPairs(value.even, weight.even) + AddPairs(value.odd, weight.odd));
  }

 private:
  DDGAN_INLINE static I32 AddPairs(U32 value, U32 weight) {
#if DDGAN_AVX512
    return (I32)_mm512_madd_epi16((__m512i)value, (__m512i)weight);
#else
    return (I32)_mm256_madd_epi16((__m256i)value, (__m256i)weight);
#endif
  }
};

#endif

// Four integers by one instruction.
#if DDGAN_AVX512 && defined(__AVX512VNNI__)
#define DDGAN_DOT_BYTES(sum, value, weight) \
  _mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(value), (__m512i)(weight))
#elif DDGAN_AVX2 && defined(__AVXVNNI__)
#define DDGAN_DOT_BYTES(sum, value, weight) \
  _mm256_dpbusd_avx_epi32((__m256i)(sum), (__m256i)(value), (__m256i)(weight))
#endif

#ifdef DDGAN_DOT_BYTES
struct IntegersByVnni {
  using Sum = I32;
  DDGAN_INLINE static U32 Value(U32 word) { return word; }
  DDGAN_INLINE static U32 Weight(U32 word) { return word; }
  DDGAN_INLINE static Sum Add(Sum sum, U32 value, U32 weight) {
    return (I32)DDGAN_DOT_BYTES(sum, value, weight);
  }
};
using Integers = IntegersByVnni;
#elif DDGAN_AVX512 || DDGAN_AVX2
using Integers = IntegersBySixteenBits;
#else
using Integers = IntegersInAnyWay;
#endif

#if DDGAN_AVX512 && defined(__AVX512BF16__)
struct Bfloat16ByDot {
  using Sum = F32;
  DDGAN_INLINE static U32 Value(U32 word) { return word; }
  DDGAN_INLINE static U32 Weight(U32 word) { return word; }
  DDGAN_INLINE static Sum Add(Sum sum, U32 value, U32 weight) {
    return (F32)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)value, (__m512bh)(__m512i)weight);
  }
};
using Bfloat16s = Bfloat16ByDot;
#else
using Bfloat16s = Bfloat16InAnyWay;
#endif

template <class Dot, size_t kPositions>
DDGAN_INLINE void DotPositions(const PackedRows& rows, const uint8_t* at, const uint8_t* weights,
                               uint8_t* sums) {
  using Sum = typename Dot::Sum;
  Sum sum[kPositions][2] = {};
  for (size_t tap = 0; tap < rows.taps; ++tap) {
    const uint8_t* value = at + rows.tap[tap];
    for (size_t block = 0; block < rows.stride; block += kPackedBlock) {
      for (size_t word = 0; word < kPackedBlock; word += 4) {
        const auto weight_0 = Dot::Weight(LoadWords(weights + word * 16));
        const auto weight_1 =
            Dot::Weight(LoadWords(weights + word * 16 + (kLanes == 16 ? kPackedTile : 4 * kLanes)));
        for (size_t k = 0; k < kPositions; ++k) {
          const auto v = Dot::Value(FillWord(value + k * rows.stride + block + word));
          sum[k][0] = Dot::Add(sum[k][0], v, weight_0);
          sum[k][1] = Dot::Add(sum[k][1], v, weight_1);
        }
      }
      weights += 2 * kPackedTile;
    }
  }
  for (size_t k = 0; k < kPositions; ++k) {
    for (size_t half = 0; half < 2; ++half) {
      memcpy(sums + k * 4 * kPackedPanel + half * 4 * kLanes, &sum[k][half], sizeof(Sum));
    }
  }
}

template <class Dot, size_t kMost>
DDGAN_INLINE void DotSome(size_t count, const PackedRows& rows, const uint8_t* at,
                          const uint8_t* weights, uint8_t* sums) {
  if (count == kMost) return DotPositions<Dot, kMost>(rows, at, weights, sums);
  if constexpr (kMost > 1) DotSome<Dot, kMost - 1>(count, rows, at, weights, sums);
}

// See Dots in native/cpu_kernels.h.
template <class Dot>
void DotPanel(const PackedRows& rows, const uint8_t* weights, size_t positions,
                           uint8_t* sums) {
  for (size_t output = 0; output < kPackedPanel; output += 2 * kLanes) {
    const uint8_t* from = weights + output / 16 * kPackedTile + output % 16 * 4;
    const size_t parts = (positions + kPositionsTogether - 1) / kPositionsTogether;
    for (size_t part = 0, position = 0; part < parts; ++part) {
      const size_t together = (positions - position + parts - part - 1) / (parts - part);
      DotSome<Dot, kPositionsTogether>(together, rows, rows.first + position * rows.stride, from,
                                       sums + (position * kPackedPanel + output) * 4);
      position += together;
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
