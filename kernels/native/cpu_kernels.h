// The arithmetic of every op on contiguous memory, as one table per instruction set.
//
// Whoever calls it splits the work; the result for an element depends neither on the split nor on
// its place in a call, and never on an address.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ddgan {

// Type of the elements of a tensor, and index into the tables below.
enum class Element { kFloat = 0, kHalf = 1 };

// Count, mean, and the sum of squared distances to the mean.
struct Moments {
  double count = 0.0, mean = 0.0, squares = 0.0;
};

// Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances" (1979). Where it stands in a loop, the loop's order is the order of the result.
static inline Moments Merge(const Moments& a, const Moments& b) {
  const double count = a.count + b.count;
  if (count == 0.0) return a;
  const double distance = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + distance * share,
          a.squares + b.squares + distance * distance * a.count * share};
}

// Of a part of a group in AdaGN's gradient, see adagn_grad/cpu.h: the sum of v, and of v c.
struct GradientSums {
  double v = 0.0, vc = 0.0;
};

static inline GradientSums Merge(const GradientSums& a, const GradientSums& b) {
  return {a.v + b.v, a.vc + b.vc};
}

struct PosteriorCoefficients {
  float x0, xt, sigma;
};

// In the order of the input, see reverse_step/spec.py.
struct ReverseCoefficients {
  float c0, a, b, lo, hi, ct, s;
};

struct PhiloxStream {
  uint64_t seed;
  uint32_t stream;
};

// Of one channel of one sample, see style_lrelu/spec.py.
struct StyleLreluPlane {
  float scale, bias, alpha, limit;
};

// A 3 x 3 convolution is computed on tiles of 4 x 4 results, at 36 points each.
constexpr size_t kConvTile = 4, kConvPoints = 36;
// Input channels that are multiplied together: their weights and values stay in the caches.
constexpr size_t kConvBlock = 64;
// Floats between the points of a block: at a power of two all 36 would share a set of the cache.
constexpr size_t kConvPadding = 16;

struct ConvImage {
  size_t channels, height, width, tile_columns;
};

// See conv3x3/cpu.h.
struct Conv3x3Kernels {
  size_t lanes, panel;
  void (*data)(const float* image, ConvImage shape, size_t channel, size_t first, size_t last,
               float* band, float* v, size_t stride);
  void (*weights)(const float* w, size_t outputs, size_t channels, size_t channel, size_t count,
                  float* u);
  void (*multiply)(const float* v, size_t v_stride, const float* u, size_t count, size_t tiles,
                   bool add, float* m, size_t m_stride);
  void (*result)(const float* m, size_t stride, const float* bias, const float* residual,
                 float scale, ConvImage shape, size_t first, size_t last, float* band,
                 float* image);
};

// What a product of low precision reads, see packed_conv/cpu.h: bytes of a block of channels, of its
// weights for 16 outputs, and outputs that are computed together.
constexpr size_t kPackedBlock = 64, kPackedTile = 16 * kPackedBlock, kPackedPanel = 32;
constexpr size_t kPackedSlack = 15;

// Types of what is packed, and index into the tables below.
enum class Packed { kUint8 = 0, kBfloat16 = 1 };

// Rows of `stride` bytes; a sum takes those at `tap` bytes from its own.
struct PackedRows {
  const uint8_t* first;
  size_t stride;
  const size_t* tap;
  size_t taps;
};

// See packed_conv/dot.h.
struct Dots {
  const char* isa;
  // [type](rows, weights, positions, sums): sums [position][kPackedPanel] of 32 bits, int32 or
  // float32. weights: [tap][block][2][16 words][16 outputs][4 bytes], outputs by sixteens. May read
  // kPackedSlack rows and write as many positions more.
  void (*panel[2])(const PackedRows& rows, const uint8_t* weights, size_t positions, uint8_t* sums);
};

// How float32 becomes uint8: x * inverse_scale, rounded to the nearest, ties to even, plus zero.
struct Rounding {
  float inverse_scale;
  int32_t zero;
};

// What is done to a channel before it is packed: (x - center) * gain + bias.
struct ChannelAffine {
  const float *center, *gain, *bias;
};

// A packed image, see packed_conv/cpu.h.
struct PackedImage {
  size_t channels, height, width, stride;
};

// Of the outputs of a panel.
struct PackedEpilogue {
  const float* bias;
  const float* factor;    // of integers alone
  const int32_t* offset;  // of integers alone
  const float* residual;  // or null
  float scale;
};

// See packed_conv/cpu.h.
struct PackedKernels {
  size_t lanes;
  // [type][none, affine, affine and silu]
  void (*pack[2][3])(const float* image, PackedImage shape, size_t channel, size_t first,
                     size_t last, ChannelAffine affine, Rounding rounding, uint8_t* to);
  // [type]
  void (*result[2])(const uint8_t* sums, PackedImage shape, size_t first, size_t last,
                    PackedEpilogue epilogue, float* image);
};

// Of a separable filter.
struct ResampleTaps {
  float vertical[4], horizontal[4];
};

// See resample/cpu.h.
struct ResampleKernels {
  size_t margin;
  void (*up)(const float* x, size_t height, size_t width, ResampleTaps taps, float bias, float* row,
             float* y);
  void (*down)(const float* x, size_t height, size_t width, ResampleTaps taps, float bias,
               float* row, float* y);
};

// Of self-attention: keys that are computed together, and the most panels of queries.
constexpr size_t kAttentionKeys = 64, kAttentionPanels = 4;

// q, k and v are [channels, tokens].
struct AttentionHead {
  const float *q, *k, *v;
  size_t channels, tokens;
};

// See attention/cpu.h.
struct AttentionKernels {
  size_t queries;  // of a panel
  size_t (*scratch)(size_t channels, size_t panels);
  void (*attend)(AttentionHead head, size_t first, size_t panels, float* scratch, float* y);
};

struct CpuKernels {
  const char* isa;

  // [element type of x](x, count).
  Moments (*moments[2])(const void* x, size_t count);

  // [element type of x and y][silu]: y = act((x - center) * gain + bias) on `rows` rows of
  // `length` elements, each row with its own gain and bias. y may be x.
  void (*normalize[2][2])(const void* x, void* y, size_t rows, size_t length, float center,
                          const float* gain, const float* bias);

  // [element type of dy and x][silu], of rows as above: the sums, and dx = v + c * slope + offset.
  // dx may be dy or x.
  GradientSums (*gradient_sums[2][2])(const void* dy, const void* x, size_t rows, size_t length,
                                      float center, const float* gain, const float* bias);
  void (*gradient[2][2])(const void* dy, const void* x, void* dx, size_t rows, size_t length,
                         float center, const float* gain, const float* bias, float slope,
                         float offset);

  // [element type](from, to, count): any element type to float.
  void (*to_float[2])(const void* from, float* to, size_t count);

  // [element type of x0_raw][tanh]; x_prev may be x_t or noise.
  void (*posterior[2][2])(const void* x0_raw, const float* x_t, const float* noise, float* x_prev,
                          size_t count, PosteriorCoefficients coefficients);

  // [element type of out][noise]: without it `noise` is not read. x_prev may be x or noise.
  void (*reverse[2][2])(const void* out, const float* x, const float* noise, float* x_prev,
                        size_t count, ReverseCoefficients coefficients);

  // [element type of x and y][picture]: without it all pixels have the noise of the first. y may be x.
  void (*style_lrelu[2][2])(const void* x, const float* noise, void* y, size_t count,
                            StyleLreluPlane plane);

  // Elements 4 * first_block .. 4 * first_block + count - 1 of a stream.
  void (*philox_normal)(PhiloxStream stream, uint32_t first_block, float* to, size_t count);

  // The same elements as integers from 0 to below - 1.
  void (*philox_integer)(PhiloxStream stream, uint32_t first_block, uint32_t below, int64_t* to,
                         size_t count);

  Conv3x3Kernels conv3x3;

  PackedKernels packed;

  ResampleKernels resample;

  AttentionKernels attention;
};

}  // namespace ddgan
