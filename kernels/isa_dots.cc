// The products of low precision for one instruction set: compiled once for each, with DDGAN_ISA its
// namespace and the compiler's flags its instructions.
#include "packed_conv/amx.h"
#include "packed_conv/dot.h"

#define DDGAN_TEXT(name) #name
#define DDGAN_NAME(name) DDGAN_TEXT(name)

namespace ddgan::DDGAN_ISA {

extern const Dots kDots;
#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
const Dots kDots = {DDGAN_NAME(DDGAN_ISA), {TilePanel<true>, TilePanel<false>}};
#else
const Dots kDots = {DDGAN_NAME(DDGAN_ISA), {DotPanel<Integers>, DotPanel<Bfloat16s>}};
#endif

}  // namespace ddgan::DDGAN_ISA
