// From images [C, H, W] of float32 to packed ones, and from sums of their products back, on one
// instruction set.
//
// A packed image is rows of `stride` bytes, one a position: all channels of one pixel, uint8 or
// bfloat16, and after them what is multiplied by zero up to whole blocks of 64 bytes. Positions run
// along the image's rows, with one of border before each row, a row of border above and one below:
// pixel (y, x) is at (y + 1) * (W + 1) + x + 1, and all its neighbours are where that says, at the
// same distance for every pixel. So 3 x 3 products of a whole run of positions are nine products of
// matrices; those of the border are computed too, and dropped.
#pragma once

#include "../native/planes.h"
#include "../native/vector_math.h"

namespace ddgan::DDGAN_ISA {

// Pixels that are rounded, then turned: their words stay in the first-level cache.
constexpr size_t kPackedPixels = 256;

// Four channels, as integers of 8 bits.
struct Uint8Words {
  static constexpr size_t kChannels = 4;

  DDGAN_INLINE static U32 Word(const F32 (&x)[kChannels], Rounding rounding) {
    constexpr float kRoundingShift = 0x1.8p23f;
    const float zero = (float)rounding.zero;
    U32 word{};
    for (size_t k = 0; k < kChannels; ++k) {
      F32 level = x[k] * rounding.inverse_scale;
      level = Min(Max(level, Fill(-zero)), Fill(255.0f - zero));
      // The nearest whole number is in the low bits of the significand.
      const U32 bits = (U32)(level + kRoundingShift) + (uint32_t)rounding.zero;
      word |= (bits & 0xFFu) << (uint32_t)(8 * k);
    }
    return word;
  }
};

// Two channels, as bfloat16: the upper half of a float32, rounded to the nearest, ties to even.
struct Bfloat16Words {
  static constexpr size_t kChannels = 2;

  DDGAN_INLINE static U32 Word(const F32 (&x)[kChannels], Rounding) {
    return Round(x[0]) >> 16 | (Round(x[1]) & 0xFFFF0000u);
  }

 private:
  DDGAN_INLINE static U32 Round(F32 x) {
    const U32 bits = (U32)x;
    const I32 is_nan = (I32)(bits & 0x7FFFFFFFu) > 0x7F800000;
    const U32 rounded = bits + 0x7FFFu + (bits >> 16 & 1u);
    return is_nan ? bits | 0x00400000u : rounded;
  }
};

// The words of kVectors vectors of pixels, of kChannels planes.
template <class Words, bool kAffine, bool kSilu, size_t kVectors>
DDGAN_INLINE void PackWords(const float* from, size_t area, size_t channels, size_t pixels,
                            ChannelAffine affine, Rounding rounding, float* to) {
  constexpr size_t kChannels = Words::kChannels;
  F32 v[kVectors * kChannels] = {};
  for (size_t i = 0; i < kVectors; ++i) {
    for (size_t k = 0; k < kChannels && k < channels; ++k) {
      const float* at = from + k * area + i * kLanes;
      v[i * kChannels + k] = pixels < kLanes ? LoadFirst(at, pixels) : Load(at);
    }
  }
  if constexpr (kAffine) {
    for (size_t i = 0; i < kVectors; ++i) {
      for (size_t k = 0; k < kChannels && k < channels; ++k) {
        F32& x = v[i * kChannels + k];
        x = MulAdd(x - affine.center[k], Fill(affine.gain[k]), Fill(affine.bias[k]));
      }
    }
  }
  if constexpr (kSilu) Silu(v);
  for (size_t i = 0; i < kVectors; ++i) {
    F32 word[kChannels];
    for (size_t k = 0; k < kChannels; ++k) word[k] = v[i * kChannels + k];
    Store(to + i * kLanes, (F32)Words::Word(word, rounding));
  }
}

// Rows [first, last) of kLanes words from `channel` on. `image` and what `affine` points to start at
// that channel, `to` at the packed image's first byte.
template <class Words, bool kAffine, bool kSilu>
void Pack(const float* image, PackedImage shape, size_t channel, size_t first, size_t last,
          ChannelAffine affine, Rounding rounding, uint8_t* to) {
  constexpr size_t kChannels = Words::kChannels, kTogether = 2 * kLanes;
  float band[kLanes * kPackedPixels];
  const size_t area = shape.height * shape.width;
  const size_t channels = channel < shape.channels ? shape.channels - channel : 0;
  to += channel / kChannels * 4;
  for (size_t begin = first * shape.width; begin < last * shape.width; begin += kPackedPixels) {
    const size_t count = Smaller(kPackedPixels, last * shape.width - begin);
    for (size_t word = 0, c = 0; word < kLanes; ++word, c += kChannels) {
      float* const words = band + word * kPackedPixels;
      ChannelAffine here = affine;
      if constexpr (kAffine) here = {affine.center + c, affine.gain + c, affine.bias + c};
      const size_t some = c < channels ? channels - c : 0;
      const float* const from = image + (some ? c : 0) * area + begin;
      size_t i = 0;
      for (; i + kTogether <= count; i += kTogether) {
        PackWords<Words, kAffine, kSilu, 2>(from + i, area, some, kLanes, here, rounding, words + i);
      }
      for (; i < count; i += kLanes) {
        PackWords<Words, kAffine, kSilu, 1>(from + i, area, some, count - i, here, rounding,
                                            words + i);
      }
    }
    size_t position = begin + begin / shape.width + shape.width + 2;
    size_t left = shape.width - begin % shape.width;
    for (size_t i = 0; i < count; i += kLanes) {
      F32 square[kLanes];
      for (size_t k = 0; k < kLanes; ++k) square[k] = Load(band + k * kPackedPixels + i);
      Turn(square);
      for (size_t k = 0; k < kLanes && i + k < count; ++k) {
        memcpy(to + position * shape.stride, &square[k], sizeof square[k]);
        ++position;
        if (--left == 0) left = shape.width, ++position;
      }
    }
  }
}

// Rows [first, last) of up to kPackedPanel channels, from their sums: the first position's is that of
// pixel (first, 0). Image, and what the epilogue points to, start at the first of the channels. Reads
// kLanes positions more.
//
//     y = (sum + bias + residual) * scale    or, of integers,
//     y = ((sum - offset) * factor + bias + residual) * scale
template <Packed kType>
void PackedResult(const uint8_t* sums, PackedImage shape, size_t first, size_t last,
                  PackedEpilogue epilogue, float* image) {
  const Planes planes{image, epilogue.residual, shape.height * shape.width};
  const size_t outputs = Smaller(kPackedPanel, shape.channels);
  for (size_t channel = 0; channel < outputs; channel += kLanes) {
    const size_t count = Smaller(kLanes, outputs - channel);
    float constants[2][kLanes] = {};
    int32_t offsets[kLanes] = {};
    memcpy(constants[0], epilogue.bias + channel, count * sizeof(float));
    if constexpr (kType == Packed::kUint8) {
      memcpy(constants[1], epilogue.factor + channel, count * sizeof(float));
      memcpy(offsets, epilogue.offset + channel, count * sizeof(int32_t));
    }
    const F32 bias = Load(constants[0]), factor = Load(constants[1]);
    U32 offset;
    memcpy(&offset, offsets, sizeof offset);
    for (size_t y = first; y < last; ++y) {
      const uint8_t* row = sums + ((y - first) * (shape.width + 1) * kPackedPanel + channel) * 4;
      for (size_t x = 0; x < shape.width; x += kLanes) {
        F32 pixels[kLanes];
        for (size_t k = 0; k < kLanes; ++k) {
          const uint8_t* at = row + (x + k) * kPackedPanel * 4;
          if constexpr (kType == Packed::kUint8) {
            U32 sum;
            memcpy(&sum, at, sizeof sum);
            // Beyond the row stands anything, which may wrap around.
            pixels[k] = MulAdd(__builtin_convertvector((I32)(sum - offset), F32), factor, bias);
          } else {
            F32 sum;
            memcpy(&sum, at, sizeof sum);
            pixels[k] = sum + bias;
          }
        }
        StorePlanes(pixels, count, shape.width - x, epilogue.scale, planes,
                    channel * planes.area + y * shape.width + x);
      }
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
