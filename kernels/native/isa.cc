#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace ddgan {

namespace generic {
extern const CpuKernels kKernels;
}
#if DDGAN_X86
namespace avx2 {
extern const CpuKernels kKernels;
}
namespace avx512 {
extern const CpuKernels kKernels;
}
#endif

namespace {

// From the narrowest to the widest.
std::vector<const CpuKernels*> Supported() {
  std::vector<const CpuKernels*> tables = {&generic::kKernels};
#if DDGAN_X86
  const auto has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("f16c");
  if (has_avx2) tables.push_back(&avx2::kKernels);
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    tables.push_back(&avx512::kKernels);
  }
#endif
  return tables;
}

const CpuKernels& Select() {
  const auto tables = Supported();
  const char* wanted = std::getenv("DDGAN_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const CpuKernels* table : tables) {
    if (std::string(wanted) == table->isa) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->isa);
  }
  throw std::invalid_argument("DDGAN_ISA is '" + std::string(wanted) + "', this machine has " +
                              names);
}

}  // namespace

const CpuKernels& SelectedKernels() {
  static const CpuKernels& selected = Select();
  return selected;
}

}  // namespace ddgan
