// From vectors of channels to the planes of an image [C, H, W].
#pragma once

#include "turn.h"

namespace ddgan::DDGAN_ISA {

DDGAN_INLINE size_t Smaller(size_t a, size_t b) { return a < b ? a : b; }

// Of an image's planes, and of another's that is added: `area` elements apart.
struct Planes {
  float* image;
  const float* residual;  // or null
  size_t area;
};

// pixels[k] lane c, for k < width and c < channels, becomes (that + residual) * scale at element
// `at` + k of plane c.
DDGAN_INLINE void StorePlanes(F32 (&pixels)[kLanes], size_t channels, size_t width, float scale,
                              const Planes& planes, size_t at) {
  Turn(pixels);
  for (size_t c = 0; c < channels; ++c, at += planes.area) {
    F32 y = pixels[c];
    if (width >= kLanes) {
      if (planes.residual) y += Load(planes.residual + at);
      Store(planes.image + at, y * scale);
    } else {
      if (planes.residual) y += LoadFirst(planes.residual + at, width);
      StoreFirst(planes.image + at, y * scale, width);
    }
  }
}

}  // namespace ddgan::DDGAN_ISA
