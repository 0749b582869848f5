// The instruction sets that the library is compiled for, and the one that it uses.
#pragma once

#include "cpu_kernels.h"

namespace ddgan {

// The widest instruction set of this processor, or the one that the environment variable DDGAN_ISA
// names: generic, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16 or amx. The variable is read
// once.
//
// Throws std::invalid_argument: DDGAN_ISA names a set that the processor or the library lacks.
const CpuKernels& SelectedKernels();

// The same for products of low precision.
const Dots& SelectedDots();

}  // namespace ddgan
