// Conv3x3 on ONNX Runtime's CPU provider.
//
// Tile rows of all images, one after another, are cut into blocks of some 64 tiles. A block is
// computed in two parts: its data are transformed, task by task a vector of channels; then each
// panel of output channels transforms its weights, 64 input channels at a time, multiplies, and
// transforms the result. Transformed weights would be four times as large in memory, and slower to
// read from there than to make, which takes a tenth of a whole block's time.
#pragma once

#include <optional>
#include <thread>

#include "../native/isa.h"
#include "../native/ort_scratch.h"
#include "ort_schema.h"

namespace ddgan {

// How one call is cut. What is computed for an element does not depend on it.
struct Conv3x3Plan {
  Conv3x3Plan(const Conv3x3Sizes& sizes, const Conv3x3Kernels& kernels, size_t threads) {
    tile_columns = (sizes.width + kConvTile - 1) / kConvTile;
    image_rows = (sizes.height + kConvTile - 1) / kConvTile;
    rows = sizes.batch * image_rows;
    block_rows = std::min(rows, std::max<size_t>(1, kBlockTiles / tile_columns));
    blocks = (rows + block_rows - 1) / block_rows;
    panels = (sizes.outputs + kernels.panel - 1) / kernels.panel;
    v_stride = block_rows * tile_columns * kConvBlock + kConvPadding;
    const size_t channel_blocks = (sizes.inputs + kConvBlock - 1) / kConvBlock;
    v_floats = channel_blocks * kConvPoints * v_stride;
    wave = std::clamp<size_t>(kWaveFloats / v_floats, 1, std::min(blocks, threads));
    // Each group transforms the panel's weights for itself, which a few tiles would not pay for.
    const size_t most = std::max<size_t>(1, block_rows * tile_columns / kGroupTiles);
    groups = std::min(most, (threads + wave * panels - 1) / (wave * panels));
    group_rows = (block_rows + groups - 1) / groups;
    m_stride = group_rows * tile_columns * kernels.panel + kConvPadding;
    band_floats = (kConvTile + 2) * (kConvTile * tile_columns + 2 + kernels.lanes) * kernels.lanes;
    u_floats = kConvPoints * (kConvBlock * kernels.panel + kConvPadding);
    slot_floats = band_floats + u_floats + kConvPoints * m_stride;
    slots = std::min(threads, wave * std::max(panels * groups, sizes.inputs / kernels.lanes + 1));
  }

  static constexpr size_t kBlockTiles = 64, kGroupTiles = 16, kWaveFloats = size_t{4} << 20;

  // Tiles of a row, and rows of tiles of one image and of all.
  size_t tile_columns, image_rows, rows;
  // A wave is the blocks that are in memory at once.
  size_t block_rows, blocks, wave;
  // A block's tasks.
  size_t panels, groups, group_rows;
  // Scratch.
  size_t v_stride, v_floats, m_stride, slot_floats, band_floats, u_floats, slots;
};

class CpuConv3x3Kernel {
 public:
  explicit CpuConv3x3Kernel(const OrtKernelInfo* info)
      : scale_(Attributes("Conv3x3", info).Get<float>("scale")),
        threads_(std::max(1u, std::thread::hardware_concurrency())) {}

  void Compute(const Ort::KernelContext& context) const {
    const Input x(context, 0), weight(context, 1), bias(context, 2);
    std::optional<Input> residual;
    if (context.GetInputCount() > 3) residual.emplace(context, 3);
    const Conv3x3Sizes sizes(x.shape, weight.shape, bias.shape,
                             residual ? &residual->shape : nullptr);
    float* const y = context.GetOutput(0, sizes.y).GetTensorMutableData<float>();
    if (sizes.batch * sizes.outputs * sizes.height * sizes.width == 0) return;
    const Conv3x3Kernels& kernels = SelectedKernels().conv3x3;
    const Conv3x3Plan plan(sizes, kernels, threads_);
    const CpuScratch scratch(context, plan.wave * plan.v_floats + plan.slots * plan.slot_floats);
    const Work work{plan,
                    sizes,
                    kernels,
                    Floats(x),
                    Floats(weight),
                    Floats(bias),
                    residual ? Floats(*residual) : nullptr,
                    scale_,
                    y,
                    scratch.get()};
    for (size_t block = 0; block < plan.blocks; block += plan.wave) work.RunWave(context, block);
  }

 private:
  static const float* Floats(const Input& input) {
    return reinterpret_cast<const float*>(input.data);
  }

  // One call.
  struct Work {
    void RunWave(const Ort::KernelContext& context, size_t first) const {
      const size_t blocks = std::min(plan.wave, plan.blocks - first);
      const size_t vectors = (sizes.inputs + kernels.lanes - 1) / kernels.lanes;
      ParallelTasks(context, blocks * vectors, plan.slots, [&](size_t task, size_t slot) {
        TransformData(first + task / vectors, task / vectors, task % vectors * kernels.lanes, slot);
      });
      const size_t parts = plan.panels * plan.groups;
      ParallelTasks(context, blocks * parts, plan.slots, [&](size_t task, size_t slot) {
        const size_t part = task % parts;
        Multiply(first + task / parts, task / parts, part / plan.groups, part % plan.groups, slot);
      });
    }

    // Rows [first, last) of tiles by image: run(image, first and last row in it, tiles before).
    template <class Run>
    void ByImage(size_t first, size_t last, const Run& run) const {
      for (size_t row = first; row < last;) {
        const size_t image = row / plan.image_rows, start = image * plan.image_rows;
        const size_t end = std::min(last, start + plan.image_rows);
        run(image, row - start, end - start, (row - first) * plan.tile_columns);
        row = end;
      }
    }

    void TransformData(size_t block, size_t place, size_t channel, size_t slot) const {
      const ConvImage shape{sizes.inputs, sizes.height, sizes.width, plan.tile_columns};
      const size_t first = block * plan.block_rows;
      float* const to = V(place, channel / kConvBlock) + channel % kConvBlock;
      ByImage(first, std::min(plan.rows, first + plan.block_rows),
              [&](size_t image, size_t from_row, size_t to_row, size_t tiles) {
                kernels.data(x + image * sizes.inputs * sizes.height * sizes.width, shape, channel,
                             from_row, to_row, Slot(slot), to + tiles * kConvBlock, plan.v_stride);
              });
    }

    void Multiply(size_t block, size_t place, size_t panel, size_t group, size_t slot) const {
      const size_t block_end = std::min(plan.rows, (block + 1) * plan.block_rows);
      const size_t before = group * plan.group_rows, first = block * plan.block_rows + before;
      const size_t last = std::min(block_end, first + plan.group_rows);
      if (first >= last) return;
      float* const u = Slot(slot) + plan.band_floats;
      float* const m = u + plan.u_floats;
      const size_t output = panel * kernels.panel, outputs = sizes.outputs - output;
      const float* const w = weight + output * sizes.inputs * 9;
      for (size_t channel = 0; channel < sizes.inputs; channel += kConvBlock) {
        const size_t count = std::min(kConvBlock, sizes.inputs - channel);
        kernels.weights(w, outputs, sizes.inputs, channel, count, u);
        kernels.multiply(
            V(place, channel / kConvBlock) + before * plan.tile_columns * kConvBlock, plan.v_stride,
            u, count, (last - first) * plan.tile_columns, channel > 0, m, plan.m_stride);
      }
      const ConvImage shape{outputs, sizes.height, sizes.width, plan.tile_columns};
      ByImage(first, last, [&](size_t image, size_t from_row, size_t to_row, size_t tiles) {
        const size_t at = (image * sizes.outputs + output) * sizes.height * sizes.width;
        kernels.result(m + tiles * kernels.panel, plan.m_stride, bias + output,
                       residual ? residual + at : nullptr, scale, shape, from_row, to_row,
                       Slot(slot), y + at);
      });
    }

    float* V(size_t place, size_t channel_block) const {
      return scratch + place * plan.v_floats + channel_block * kConvPoints * plan.v_stride;
    }
    float* Slot(size_t slot) const {
      return scratch + plan.wave * plan.v_floats + slot * plan.slot_floats;
    }

    const Conv3x3Plan& plan;
    const Conv3x3Sizes& sizes;
    const Conv3x3Kernels& kernels;
    const float *x, *weight, *bias, *residual;
    float scale;
    float *y, *scratch;
  };

  float scale_;
  size_t threads_;
};

class CpuConv3x3Op : public Conv3x3Op<CpuConv3x3Op, CpuConv3x3Kernel> {
 public:
  static constexpr const char* kProvider = nullptr;
};

}  // namespace ddgan
