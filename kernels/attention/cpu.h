// Self-attention of one head on one instruction set, without the scores in memory.
//
//     y[c][t] = sum over s of v[c][s] softmax over s (sum over c of q[c][t] k[c][s])
//
// Tensors are [C, T]: a vector holds kLanes queries of one channel, or their scores for one key, so
// that maximum, exponential and sum are plain arithmetic between vectors. Keys come in blocks, each
// of which scales what came before it by the maximum so far (Milakov & Gimelshein, "Online
// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/planes.h"
#include "../native/vector_math.h"

namespace ddgan::DDGAN_ISA {

// Queries that are computed together: two vectors.
constexpr size_t kQueries = 2 * kLanes;
// Channels that are summed together: they stay in the first cache, and a sum of sums gets less
// wrong.
constexpr size_t kChannels = 128;
// Rows of a product that are computed together: their sums, two vectors and one value have to fit
// into the registers.
#if DDGAN_AVX512
constexpr size_t kRowsTogether = 12;
#elif DDGAN_AVX2
constexpr size_t kRowsTogether = 6;
#else
constexpr size_t kRowsTogether = 4;
#endif

// The least finite number: minus infinity less that is minus infinity, whose exponential is 0.
constexpr float kLowest = -0x1.fffffep127f;

// Of a panel of queries, a lane each, in units of log2 e: the largest score so far, and the sum of
// the exponentials of all, less that.
struct SoftmaxState {
  F32 maximum[2], sum[2];
};

// result[r] = scale * result[r] + sum over i < count of a[r * kRow + i * kStep] b[i], for kRows
// rows of two vectors; without a scale there is no result yet.
template <size_t kRows, size_t kRow, size_t kStep>
DDGAN_INLINE void MultiplyRows(const float* a, const float* b, size_t count, const F32* scale,
                               float* result) {
  F32 sum[kRows][2] = {};
  for (size_t i = 0; i < count; ++i, a += kStep, b += kQueries) {
    const F32 vectors[2] = {Load(b), Load(b + kLanes)};
    for (size_t r = 0; r < kRows; ++r) {
      const F32 value = Fill(a[r * kRow]);
      for (size_t k = 0; k < 2; ++k) sum[r][k] = MulAdd(value, vectors[k], sum[r][k]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t k = 0; k < 2; ++k, result += kLanes) {
      Store(result, scale ? MulAdd(Load(result), scale[k], sum[r][k]) : sum[r][k]);
    }
  }
}

template <size_t kMost, size_t kRow, size_t kStep>
DDGAN_INLINE void MultiplySomeRows(size_t rows, const float* a, const float* b, size_t count,
                                   const F32* scale, float* result) {
  if (rows == kMost) return MultiplyRows<kMost, kRow, kStep>(a, b, count, scale, result);
  if constexpr (kMost > 1) {
    MultiplySomeRows<kMost - 1, kRow, kStep>(rows, a, b, count, scale, result);
  }
}

// The same for any number of rows.
template <size_t kRow, size_t kStep>
inline void Product(size_t rows, const float* a, const float* b, size_t count, const F32* scale,
                    float* result) {
  const size_t parts = (rows + kRowsTogether - 1) / kRowsTogether;
  for (size_t part = 0, row = 0; part < parts; ++part) {
    const size_t together = (rows - row + parts - part - 1) / (parts - part);
    MultiplySomeRows<kRowsTogether, kRow, kStep>(together, a + row * kRow, b, count, scale,
                                                 result + row * kQueries);
    row += together;
  }
}

// to[c][kStride] = factor * from[c][first .. first + count), of rows of `tokens`; zeros follow up
// to the end of the last vector.
template <size_t kStride>
inline void CopyTokens(const float* from, size_t channels, size_t tokens, size_t first,
                       size_t count, float factor, float* to) {
  for (size_t c = 0; c < channels; ++c) {
    for (size_t t = 0; t < count; t += kLanes) {
      const float* const at = from + c * tokens + first + t;
      const F32 value = count - t < kLanes ? LoadFirst(at, count - t) : Load(at);
      Store(to + c * kStride + t, value * factor);
    }
  }
}

// Scores of kKeys keys become 2^(score - maximum), which are added to the sum.
template <size_t kKeys>
DDGAN_INLINE void Exponentials(float* scores, const F32 (&maximum)[2], F32 (&sum)[2]) {
  F32 x[2 * kKeys];
  for (size_t i = 0; i < 2 * kKeys; ++i) x[i] = Load(scores + i * kLanes) - maximum[i % 2];
  Exp2OfNegative(x);
  for (size_t i = 0; i < 2 * kKeys; ++i) Store(scores + i * kLanes, x[i]);
  for (size_t i = 0; i < 2 * kKeys; ++i) sum[i % 2] += x[i];
}

// scores[keys][kQueries] become 2^(score - maximum so far); `scale` is what the sums so far are to
// be multiplied by.
inline void Softmax(float* scores, size_t keys, SoftmaxState& state, F32 (&scale)[2]) {
  constexpr size_t kTogether = 2;
  F32 sum[2] = {};
  for (size_t k = 0; k < 2; ++k) scale[k] = state.maximum[k];
  for (size_t s = 0; s < keys; ++s) {
    for (size_t k = 0; k < 2; ++k) {
      // A score that is nan is left out here; its exponential is nan.
      state.maximum[k] = Max(state.maximum[k], Load(scores + s * kQueries + k * kLanes));
    }
  }
  for (size_t k = 0; k < 2; ++k) scale[k] -= state.maximum[k];
  Exp2OfNegative(scale);
  size_t s = 0;
  for (; s + kTogether <= keys; s += kTogether) {
    Exponentials<kTogether>(scores + s * kQueries, state.maximum, sum);
  }
  for (; s < keys; ++s) Exponentials<1>(scores + s * kQueries, state.maximum, sum);
  for (size_t k = 0; k < 2; ++k) state.sum[k] = MulAdd(state.sum[k], scale[k], sum[k]);
}

// Floats of scratch of a call of `Attend`.
inline size_t AttentionScratch(size_t channels, size_t panels) {
  return channels * (2 * panels * kQueries + 2 * kAttentionKeys) + kAttentionKeys * kQueries;
}

// Of one head: the queries [first, first + panels * kQueries), as far as there are so many; at most
// kAttentionPanels panels.
inline void Attend(AttentionHead head, size_t first, size_t panels, float* scratch, float* y) {
  const size_t channels = head.channels, tokens = head.tokens, panel = channels * kQueries;
  float* const q = scratch;
  float* const sums = q + panels * panel;
  float* const k = sums + panels * panel;
  float* const v = k + channels * kAttentionKeys;
  float* const scores = v + channels * kAttentionKeys;
  SoftmaxState states[kAttentionPanels];
  const F32 ones[2] = {Fill(1.0f), Fill(1.0f)};
  const auto queries = [&](size_t p) { return Smaller(kQueries, tokens - first - p * kQueries); };
  for (size_t p = 0; p < panels; ++p) {
    states[p] = {{Fill(kLowest), Fill(kLowest)}, {}};
    // Lanes without a query compute on zeros.
    for (size_t i = 0; i < panel && queries(p) <= kLanes; i += kLanes) {
      Store(q + p * panel + i, F32{});
    }
    CopyTokens<kQueries>(head.q, channels, tokens, first + p * kQueries, queries(p), kLog2E,
                         q + p * panel);
  }
  for (size_t key = 0; key < tokens; key += kAttentionKeys) {
    const size_t keys = Smaller(kAttentionKeys, tokens - key);
    CopyTokens<kAttentionKeys>(head.k, channels, tokens, key, keys, 1.0f, k);
    CopyTokens<kAttentionKeys>(head.v, channels, tokens, key, keys, 1.0f, v);
    for (size_t p = 0; p < panels; ++p) {
      F32 scale[2];
      for (size_t c = 0; c < channels; c += kChannels) {
        Product<1, kAttentionKeys>(keys, k + c * kAttentionKeys, q + p * panel + c * kQueries,
                                   Smaller(kChannels, channels - c), c ? ones : nullptr, scores);
      }
      Softmax(scores, keys, states[p], scale);
      Product<kAttentionKeys, 1>(channels, v, scores, keys, key ? scale : nullptr,
                                 sums + p * panel);
    }
  }
  for (size_t p = 0; p < panels; ++p) {
    for (size_t i = 0; i < queries(p); i += kLanes) {
      const F32 factor = 1.0f / states[p].sum[i / kLanes];
      const size_t left = queries(p) - i;
      for (size_t c = 0; c < channels; ++c) {
        const F32 value = Load(sums + p * panel + c * kQueries + i) * factor;
        float* const to = y + c * tokens + first + p * kQueries + i;
        if (left < kLanes) {
          StoreFirst(to, value, left);
        } else {
          Store(to, value);
        }
      }
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
