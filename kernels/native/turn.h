// Squares of kLanes x kLanes elements, turned: rows in memory become lanes.
#pragma once

#include "simd.h"

namespace ddgan::DDGAN_ISA {

template <size_t... kIndex>
struct LaneIndices {};
#if DDGAN_AVX512
using Lanes = LaneIndices<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#elif DDGAN_AVX2
using Lanes = LaneIndices<0, 1, 2, 3, 4, 5, 6, 7>;
#else
using Lanes = LaneIndices<0, 1, 2, 3>;
#endif

// Of a pair of vectors cut into blocks of kSize lanes, exchanges a's odd blocks and b's even ones.
template <size_t kSize, size_t... i>
DDGAN_INLINE void ExchangeBlocks(F32& a, F32& b, LaneIndices<i...>) {
  const F32 even = __builtin_shufflevector(a, b, (int)(i & kSize ? kLanes + i - kSize : i)...);
  b = __builtin_shufflevector(a, b, (int)(i & kSize ? kLanes + i : i + kSize)...);
  a = even;
}

template <size_t kSize>
DDGAN_INLINE void TurnBlocks(F32 (&rows)[kLanes]) {
  for (size_t i = 0; i < kLanes; ++i) {
    if ((i & kSize) == 0) ExchangeBlocks<kSize>(rows[i], rows[i + kSize], Lanes{});
  }
}

DDGAN_INLINE void Turn(F32 (&square)[kLanes]) {
  if constexpr (kLanes > 8) TurnBlocks<8>(square);
  if constexpr (kLanes > 4) TurnBlocks<4>(square);
  TurnBlocks<2>(square);
  TurnBlocks<1>(square);
}

// column[k] lane r = from[r * stride + k] for r < rows and k < columns, else zero.
DDGAN_INLINE void LoadTurned(const float* from, size_t stride, size_t rows, size_t columns,
                             F32 (&column)[kLanes]) {
  if (rows >= kLanes && columns >= kLanes) {
    for (size_t r = 0; r < kLanes; ++r) column[r] = Load(from + r * stride);
  } else {
    for (size_t r = 0; r < kLanes; ++r) {
      column[r] = r >= rows             ? F32{}
                  : columns >= kLanes ? Load(from + r * stride)
                                        : LoadFirst(from + r * stride, columns);
    }
  }
  Turn(column);
}

}  // namespace ddgan::DDGAN_ISA
