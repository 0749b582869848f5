// Every op's arithmetic for one instruction set: compiled once for each, with DDGAN_ISA its
// namespace and the compiler's flags its instructions.
#include "adagn/cpu.h"
#include "adagn_grad/cpu.h"
#include "attention/cpu.h"
#include "conv3x3/cpu.h"
#include "packed_conv/cpu.h"
#include "philox_normal/cpu.h"
#include "posterior_sample/cpu.h"
#include "resample/cpu.h"
#include "reverse_step/cpu.h"
#include "style_lrelu/cpu.h"

#define DDGAN_TEXT(name) #name
#define DDGAN_NAME(name) DDGAN_TEXT(name)

namespace ddgan::DDGAN_ISA {

extern const CpuKernels kKernels;
const CpuKernels kKernels = {
    DDGAN_NAME(DDGAN_ISA),
    {MomentsOf<float>, MomentsOf<Half>},
    {{Normalize<float, false>, Normalize<float, true>},
     {Normalize<Half, false>, Normalize<Half, true>}},
    {{SumGradient<float, false>, SumGradient<float, true>},
     {SumGradient<Half, false>, SumGradient<Half, true>}},
    {{Gradient<float, false>, Gradient<float, true>},
     {Gradient<Half, false>, Gradient<Half, true>}},
    {ToFloat<float>, ToFloat<Half>},
    {{Posterior<float, false>, Posterior<float, true>},
     {Posterior<Half, false>, Posterior<Half, true>}},
    {{Reverse<float, false>, Reverse<float, true>}, {Reverse<Half, false>, Reverse<Half, true>}},
    {{StyleLrelu<float, false>, StyleLrelu<float, true>},
     {StyleLrelu<Half, false>, StyleLrelu<Half, true>}},
    PhiloxNormal,
    PhiloxInteger,
    {kLanes, kPanel, ConvData, ConvWeights, ConvMultiply, ConvResult},
    {kLanes,
     {{Pack<Uint8Words, false, false>, Pack<Uint8Words, true, false>, Pack<Uint8Words, true, true>},
      {Pack<Bfloat16Words, false, false>, Pack<Bfloat16Words, true, false>,
       Pack<Bfloat16Words, true, true>}},
     {PackedResult<Packed::kUint8>, PackedResult<Packed::kBfloat16>}},
    {kResampleMargin, ResampleUp, ResampleDown},
    {kQueries, AttentionScratch, Attend},
};

}  // namespace ddgan::DDGAN_ISA
