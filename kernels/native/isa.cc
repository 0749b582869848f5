#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#if DDGAN_X86
#include "x86.h"
#endif

namespace ddgan {

#define DDGAN_DECLARE(isa)         \
  namespace isa {                  \
  extern const CpuKernels kKernels; \
  }
#define DDGAN_DECLARE_DOTS(isa) \
  namespace isa {               \
  extern const Dots kDots;      \
  }

DDGAN_DECLARE(generic)
DDGAN_DECLARE_DOTS(generic)
#if DDGAN_X86
DDGAN_DECLARE(avx2)
DDGAN_DECLARE_DOTS(avx2)
DDGAN_DECLARE_DOTS(avx2_vnni)
DDGAN_DECLARE(avx512)
DDGAN_DECLARE_DOTS(avx512)
DDGAN_DECLARE_DOTS(avx512_vnni)
DDGAN_DECLARE_DOTS(avx512_bf16)
DDGAN_DECLARE_DOTS(amx)
#endif

namespace {

// The products have more sets than the rest, which a processor has in the order of their names.
struct InstructionSet {
  const CpuKernels* kernels;
  const Dots* dots;
};

// From the narrowest to the widest.
std::vector<InstructionSet> Supported() {
  std::vector<InstructionSet> sets = {{&generic::kKernels, &generic::kDots}};
#if DDGAN_X86
  const x86::Features has = x86::Detect();
  if (!has.avx2) return sets;
  sets.push_back({&avx2::kKernels, &avx2::kDots});
  if (has.avx_vnni) sets.push_back({&avx2::kKernels, &avx2_vnni::kDots});
  if (!has.avx512) return sets;
  sets.push_back({&avx512::kKernels, &avx512::kDots});
  if (!has.avx512_vnni) return sets;
  sets.push_back({&avx512::kKernels, &avx512_vnni::kDots});
  if (!has.avx512_bf16) return sets;
  sets.push_back({&avx512::kKernels, &avx512_bf16::kDots});
  if (has.amx) sets.push_back({&avx512::kKernels, &amx::kDots});
#endif
  return sets;
}

InstructionSet Select() {
  const auto sets = Supported();
  const char* wanted = std::getenv("DDGAN_ISA");
  if (wanted == nullptr || *wanted == '\0') return sets.back();
  std::string names;
  for (const InstructionSet& set : sets) {
    if (std::string(wanted) == set.dots->isa) return set;
    names += (names.empty() ? "" : ", ") + std::string(set.dots->isa);
  }
  throw std::invalid_argument("DDGAN_ISA is '" + std::string(wanted) + "', this machine has " +
                              names);
}

const InstructionSet& Selected() {
  static const InstructionSet selected = Select();
  return selected;
}

}  // namespace

const CpuKernels& SelectedKernels() { return *Selected().kernels; }

const Dots& SelectedDots() { return *Selected().dots; }

}  // namespace ddgan
