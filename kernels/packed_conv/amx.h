// The sums of dot.h by tiles of 16 rows of 64 bytes: 32 positions and 32 outputs are four tiles of
// sums, so that each tile of values and of weights that is loaded serves two products.
#pragma once

#if defined(__AMX_INT8__) && defined(__AMX_BF16__)

#include "dot.h"

namespace ddgan::DDGAN_ISA {

// As the instruction reads it (Intel, Software Developer's Manual, LDTILECFG).
struct alignas(64) TileConfiguration {
  uint8_t palette = 0, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// The calling thread's tiles, set up for as long as this lives and then as they were: others, such as
// ONNX Runtime's own kernels, keep theirs between calls.
class Tiles {
 public:
  Tiles() {
    _tile_storeconfig(&before_);
    TileConfiguration ours;
    ours.palette = 1;
    for (size_t tile = 0; tile < 8; ++tile) ours.row_bytes[tile] = 64, ours.rows[tile] = 16;
    _tile_loadconfig(&ours);
  }
  ~Tiles() {
    if (before_.palette != 0) {
      _tile_loadconfig(&before_);
    } else {
      _tile_release();
    }
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  TileConfiguration before_;
};

// Tiles 0 to 3 are sums, 4 and 5 values, 6 and 7 weights: the instructions have the numbers in them.
template <bool kIntegers, bool kTwo>
DDGAN_INLINE void MultiplyTiles(const PackedRows& rows, const uint8_t* at, const uint8_t* weights,
                                uint8_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kTwo) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (size_t tap = 0; tap < rows.taps; ++tap) {
    const uint8_t* value = at + rows.tap[tap];
    for (size_t block = 0; block < rows.stride; block += kPackedBlock) {
      _tile_loadd(6, weights, 64);
      _tile_loadd(7, weights + kPackedTile, 64);
      _tile_loadd(4, value + block, rows.stride);
      if constexpr (kTwo) _tile_loadd(5, value + block + 16 * rows.stride, rows.stride);
      if constexpr (kIntegers) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        if constexpr (kTwo) {
          _tile_dpbusd(2, 5, 6);
          _tile_dpbusd(3, 5, 7);
        }
      } else {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if constexpr (kTwo) {
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
      }
      weights += 2 * kPackedTile;
    }
  }
  constexpr size_t kRow = 4 * kPackedPanel;
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + 64, kRow);
  if constexpr (kTwo) {
    _tile_stored(2, sums + 16 * kRow, kRow);
    _tile_stored(3, sums + 16 * kRow + 64, kRow);
  }
}

// See Dots in native/cpu_kernels.h.
template <bool kIntegers>
void TilePanel(const PackedRows& rows, const uint8_t* weights, size_t positions, uint8_t* sums) {
  const Tiles tiles;
  for (size_t position = 0; position < positions; position += 32) {
    const uint8_t* at = rows.first + position * rows.stride;
    uint8_t* to = sums + position * 4 * kPackedPanel;
    if (positions - position > 16) {
      MultiplyTiles<kIntegers, true>(rows, at, weights, to);
    } else {
      MultiplyTiles<kIntegers, false>(rows, at, weights, to);
    }
  }
}

}  // namespace ddgan::DDGAN_ISA

#endif
