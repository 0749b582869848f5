// The Philox ops' arithmetic on one instruction set: philox.py, several blocks at a time.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/vector_math.h"

namespace ddgan::DDGAN_ISA {

// Four words of each block, a block a lane.
struct Words {
  U64 word[4];
};

// Ten rounds of Philox4x32. Words and keys are 32 bits wide in lanes of 64; what a word carries
// above them is ignored by the product and masked off at the end.
DDGAN_INLINE Words Philox4x32(Words c, uint32_t key0, uint32_t key1) {
  const U64 multiplier0 = U64{} + 0xD2511F53u, multiplier1 = U64{} + 0xCD9E8D57u;
  for (int round = 0; round < 10; ++round) {
    const U64 product0 = MulWords(c.word[0], multiplier0);
    const U64 product1 = MulWords(c.word[2], multiplier1);
    c = {{(product1 >> 32) ^ c.word[1] ^ (uint64_t)key0, product1,
          (product0 >> 32) ^ c.word[3] ^ (uint64_t)key1, product0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (U64& word : c.word) word &= 0xFFFFFFFFu;
  return c;
}

// The value of a whole number below 2^52.
DDGAN_INLINE F64 ToDouble(U64 number) {
  const U64 bits_of_2_to_52 = (U64)FillWide(0x1p52);
  return (F64)(number | bits_of_2_to_52) - 0x1p52;
}

// Box-Muller on two words, in float64, rounded once.
DDGAN_INLINE void BoxMuller(U64 radius, U64 angle, NarrowF32* first, NarrowF32* second) {
  const F64 length = Sqrt(-2.0 * Log((ToDouble(radius) + 0.5) * 0x1p-32));
  // angle + 0.5 = quarter * 2^30 + rest with |rest| <= 2^29: exact, so that sine and cosine keep
  // all their bits next to their zeros.
  const U64 quarter = (angle + (1u << 29)) >> 30;
  const F64 rest = ToDouble(angle) - ToDouble(quarter << 30) + 0.5;
  const SinCos turn = SinCosOfTurn(rest * 0x1p-32);
  const I64 odd = (I64)(quarter & 1) != 0;
  const F64 cos = odd ? turn.sin : turn.cos;
  const F64 sin = odd ? turn.cos : turn.sin;
  // cos(a + q pi/2) is cos, -sin, -cos, sin; sin(a + q pi/2) is sin, cos, -sin, -cos.
  const U64 cos_sign = ((quarter + 1) & 2) << 62, sin_sign = (quarter & 2) << 62;
  *first = __builtin_convertvector(length * (F64)((U64)cos ^ cos_sign), NarrowF32);
  *second = __builtin_convertvector(length * (F64)((U64)sin ^ sin_sign), NarrowF32);
}

// Elements 4 * first_block .. 4 * first_block + count - 1 of a stream: values(words) makes
// each block's four, a block a lane.
template <class Value, class Values>
DDGAN_INLINE void Draw(PhiloxStream stream, uint32_t first_block, Value* to, size_t count,
                       const Values& values) {
  constexpr size_t kElements = 4 * kWideLanes;
  U64 lane;
  for (size_t i = 0; i < kWideLanes; ++i) lane[i] = i;
  for (size_t done = 0; done < count; done += kElements) {
    const U64 block = (lane + first_block + done / 4) & 0xFFFFFFFFu;
    const Words words = Philox4x32({{block, U64{} + (uint64_t)stream.stream, U64{}, U64{}}},
                                   (uint32_t)stream.seed, (uint32_t)(stream.seed >> 32));
    const auto drawn = values(words);
    Value in_order[kElements];
    for (size_t i = 0; i < kWideLanes; ++i) {
      for (size_t k = 0; k < 4; ++k) in_order[4 * i + k] = (Value)drawn.of_block[k][i];
    }
    const size_t rest = count - done;
    memcpy(to + done, in_order, sizeof(Value) * (rest < kElements ? rest : kElements));
  }
}

template <class Vector>
struct Drawn {
  Vector of_block[4];
};

inline void PhiloxNormal(PhiloxStream stream, uint32_t first_block, float* to, size_t count) {
  Draw(stream, first_block, to, count, [](const Words& words) {
    Drawn<NarrowF32> normal;
    for (size_t k = 0; k < 4; k += 2) {
      BoxMuller(words.word[k], words.word[k + 1], &normal.of_block[k], &normal.of_block[k + 1]);
    }
    return normal;
  });
}

inline void PhiloxInteger(PhiloxStream stream, uint32_t first_block, uint32_t below, int64_t* to,
                          size_t count) {
  const U64 most = U64{} + (uint64_t)below;
  Draw(stream, first_block, to, count, [&](const Words& words) {
    Drawn<U64> integer;
    for (size_t k = 0; k < 4; ++k) integer.of_block[k] = MulWords(words.word[k], most) >> 32;
    return integer;
  });
}

}  // namespace ddgan::DDGAN_ISA
