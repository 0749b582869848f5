// The 3 x 3 convolution's arithmetic on one instruction set: F(4x4, 3x3) in vectors of channels.
//
// Tensors are [N, C, H, W] outside. Inside, a vector holds kLanes channels of one pixel, so every
// transform is plain arithmetic between vectors, whatever the size of the image.
#pragma once

#include "../native/cpu_kernels.h"
#include "../native/planes.h"
#include "winograd.h"

namespace ddgan::DDGAN_ISA {

// Output channels that are computed together: two vectors.
constexpr size_t kPanel = 2 * kLanes;
constexpr size_t kWeightStride = kConvBlock * kPanel + kConvPadding;
// Tiles that are multiplied together: their sums, two vectors of weights and one value have to fit
// into the registers.
#if DDGAN_AVX512
constexpr size_t kTilesTogether = 11;
#elif DDGAN_AVX2
constexpr size_t kTilesTogether = 6;
#else
constexpr size_t kTilesTogether = 4;
#endif

// V = B^T d B for kLanes channels from `channel` on of tile rows [first, last) of one image.
//
// band: 6 * (4 * tile columns + 2 + kLanes) vectors of scratch. v: the first tile's value of
// the first channel; point p of tile t is at v[p * stride + t * kConvBlock].
inline void ConvData(const float* image, ConvImage shape, size_t channel, size_t first, size_t last,
                     float* band, float* v, size_t stride) {
  constexpr size_t kColumn = kTileIn * kLanes;  // of the band: [column][row][lane]
  const size_t tiles = shape.tile_columns, columns = tiles * kTileOut + 2;
  const size_t area = shape.height * shape.width;
  const float* from = image + channel * area;
  for (size_t tile_row = first; tile_row < last; ++tile_row) {
    for (size_t i = 0; i < kTileIn; ++i) {
      float* to = band + i * kLanes;
      const size_t y = tile_row * kTileOut + i - 1;  // above the image it is huge
      const size_t width = y < shape.height ? shape.width : 0;
      Store(to, F32{});
      for (size_t x = 0; x < width; x += kLanes) {
        F32 pixels[kLanes];
        LoadTurned(from + y * shape.width + x, area, shape.channels - channel, width - x, pixels);
        for (size_t k = 0; k < kLanes; ++k) Store(to + (1 + x + k) * kColumn, pixels[k]);
      }
      for (size_t x = 1 + width; x < columns; ++x) Store(to + x * kColumn, F32{});
    }
    for (size_t x = 0; x < columns; ++x) {
      float* at = band + x * kColumn;
      F32 d[kTileIn], half[kTileIn];
      for (size_t i = 0; i < kTileIn; ++i) d[i] = Load(at + i * kLanes);
      TransformData(d, half);
      for (size_t i = 0; i < kTileIn; ++i) Store(at + i * kLanes, half[i]);
    }
    for (size_t t = 0; t < tiles; ++t, v += kConvBlock) {
      const float* at = band + t * kTileOut * kColumn;
      for (size_t i = 0; i < kTileIn; ++i) {
        F32 half[kTileIn], whole[kTileIn];
        for (size_t j = 0; j < kTileIn; ++j) half[j] = Load(at + j * kColumn + i * kLanes);
        TransformData(half, whole);
        for (size_t j = 0; j < kTileIn; ++j) Store(v + (i * kTileIn + j) * stride, whole[j]);
      }
    }
  }
}

// U = G g G^T for one output channel a lane and one input channel, whose 9 weights are `turned`.
DDGAN_INLINE void WeightsOfChannel(const float (*turned)[kLanes], float* u) {
  F32 half[kTileIn][3];
  for (size_t j = 0; j < 3; ++j) {
    F32 g[3], column[kTileIn];
    for (size_t i = 0; i < 3; ++i) g[i] = Load(turned[i * 3 + j]);
    TransformWeights(g, column);
    for (size_t i = 0; i < kTileIn; ++i) half[i][j] = column[i];
  }
  for (size_t i = 0; i < kTileIn; ++i) {
    F32 row[kTileIn];
    TransformWeights(half[i], row);
    for (size_t j = 0; j < kTileIn; ++j) Store(u + (i * kTileIn + j) * kWeightStride, row[j]);
  }
}

// U for the kPanel output channels of `w` [outputs left, channels, 3, 3] and the input channels
// [channel, channel + count): point p of input channel c is at u[p * kWeightStride + c * kPanel].
inline void ConvWeights(const float* w, size_t outputs, size_t channels, size_t channel,
                        size_t count, float* u) {
  float turned[9 * kLanes][kLanes];
  for (size_t half = 0; half < 2; ++half) {
    const size_t done = Smaller(half * kLanes, outputs);
    for (size_t c = 0; c < count; c += kLanes) {
      const size_t together = Smaller(kLanes, count - c);
      const float* from = w + (done * channels + channel + c) * 9;
      for (size_t i = 0; i < 9 * together; i += kLanes) {
        F32 weights[kLanes];
        LoadTurned(from + i, 9 * channels, outputs - done, 9 * together - i, weights);
        for (size_t k = 0; k < kLanes; ++k) Store(turned[i + k], weights[k]);
      }
      for (size_t k = 0; k < together; ++k) {
        WeightsOfChannel(turned + 9 * k, u + (c + k) * kPanel + half * kLanes);
      }
    }
  }
}

template <size_t kTiles>
DDGAN_INLINE void MultiplyTiles(const float* v, const float* u, size_t count, bool add, float* m) {
  F32 sum[kTiles][2] = {};
  for (size_t c = 0; c < count; ++c, u += kPanel) {
    const F32 weights[2] = {Load(u), Load(u + kLanes)};
    for (size_t t = 0; t < kTiles; ++t) {
      const F32 value = Fill(v[t * kConvBlock + c]);
      for (size_t k = 0; k < 2; ++k) sum[t][k] = MulAdd(value, weights[k], sum[t][k]);
    }
  }
  // A sum of sums, block by block, gets less wrong than one long sum.
  for (size_t t = 0; t < kTiles; ++t) {
    for (size_t k = 0; k < 2; ++k, m += kLanes) Store(m, add ? Load(m) + sum[t][k] : sum[t][k]);
  }
}

template <size_t kMost>
DDGAN_INLINE void MultiplySome(size_t tiles, const float* v, const float* u, size_t count, bool add,
                               float* m) {
  if (tiles == kMost) return MultiplyTiles<kMost>(v, u, count, add, m);
  if constexpr (kMost > 1) MultiplySome<kMost - 1>(tiles, v, u, count, add, m);
}

// At each of 36 points, m[tile][kPanel] (+)= sum over `count` channels of v[tile][c] u[c][kPanel].
inline void ConvMultiply(const float* v, size_t v_stride, const float* u, size_t count,
                         size_t tiles, bool add, float* m, size_t m_stride) {
  for (size_t point = 0; point < kConvPoints; ++point) {
    const size_t parts = (tiles + kTilesTogether - 1) / kTilesTogether;
    for (size_t part = 0, tile = 0; part < parts; ++part) {
      const size_t together = (tiles - tile + parts - part - 1) / (parts - part);
      MultiplySome<kTilesTogether>(together, v + tile * kConvBlock, u, count, add,
                                   m + tile * kPanel);
      tile += together;
    }
    v += v_stride, u += kWeightStride, m += m_stride;
  }
}

// Y = A^T M A of one tile, plus the bias, into the band [row][column][lane].
DDGAN_INLINE void ResultOfTile(const float* m, size_t stride, F32 bias, float* band,
                               size_t columns) {
  F32 half[kTileIn][kTileOut];
  for (size_t i = 0; i < kTileIn; ++i) {
    F32 row[kTileIn];
    for (size_t j = 0; j < kTileIn; ++j) row[j] = Load(m + (i * kTileIn + j) * stride);
    TransformResult(row, half[i]);
  }
  for (size_t j = 0; j < kTileOut; ++j) {
    F32 column[kTileIn], y[kTileOut];
    for (size_t i = 0; i < kTileIn; ++i) column[i] = half[i][j];
    TransformResult(column, y);
    for (size_t i = 0; i < kTileOut; ++i) Store(band + (i * columns + j) * kLanes, y[i] + bias);
  }
}

// y = (A^T M A + bias + residual) * scale for up to kPanel channels of tile rows [first, last) of
// one image; image, residual (or null) and bias start at the first of the channels.
//
// m: the first tile's first channel; point p of tile t is at m[p * stride + t * kPanel]. band:
// 4 * (4 * tile columns + kLanes) vectors of scratch.
inline void ConvResult(const float* m, size_t stride, const float* bias, const float* residual,
                       float scale, ConvImage shape, size_t first, size_t last, float* band,
                       float* image) {
  const size_t tiles = shape.tile_columns, columns = tiles * kTileOut + kLanes;
  const size_t area = shape.height * shape.width;
  const Planes planes{image, residual, area};
  for (size_t channel = 0; channel < Smaller(kPanel, shape.channels); channel += kLanes) {
    const size_t count = Smaller(kLanes, shape.channels - channel);
    const F32 add = count < kLanes ? LoadFirst(bias + channel, count) : Load(bias + channel);
    for (size_t tile_row = first; tile_row < last; ++tile_row) {
      for (size_t t = 0; t < tiles; ++t) {
        const size_t tile = (tile_row - first) * tiles + t;
        ResultOfTile(m + tile * kPanel + channel, stride, add, band + t * kTileOut * kLanes,
                     columns);
      }
      for (size_t i = 0; i < kTileOut && tile_row * kTileOut + i < shape.height; ++i) {
        const size_t row = channel * area + (tile_row * kTileOut + i) * shape.width;
        for (size_t x = 0; x < shape.width; x += kLanes) {
          F32 pixels[kLanes];
          for (size_t k = 0; k < kLanes; ++k) {
            pixels[k] = Load(band + (i * columns + x + k) * kLanes);
          }
          StorePlanes(pixels, count, shape.width - x, scale, planes, row + x);
        }
      }
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
