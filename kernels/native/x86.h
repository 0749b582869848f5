// What an x86-64 processor has, and what the system lets a process use of it.
#pragma once

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ddgan::x86 {

struct Features {
  bool avx2 = false, avx_vnni = false, avx512 = false, avx512_vnni = false, avx512_bf16 = false;
  bool amx = false;
};

// Whether threads of this process may use the tiles of AMX from now on. Linux asks for this call
// (Documentation/arch/x86/xstate.rst), and refuses where a process's alternate signal stacks would
// not hold them.
inline bool MayUseTiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Of Intel's Software Developer's Manual, CPUID leaf 7; the builtins ask the system, too, whether it
// keeps the registers.
inline Features Detect() {
  Features has;
  has.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
  has.avx512 = has.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
  const auto bit = [](unsigned of, int index) { return (of >> index & 1u) != 0; };
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return has;
  const unsigned subleaves = a;
  has.avx512_vnni = has.avx512 && bit(c, 11);
  const bool tiles = bit(d, 22) && bit(d, 24) && bit(d, 25);
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    has.avx_vnni = has.avx2 && bit(a, 4);
    has.avx512_bf16 = has.avx512 && bit(a, 5);
  }
  has.amx = has.avx512_vnni && has.avx512_bf16 && tiles && MayUseTiles();
  return has;
}

}  // namespace ddgan::x86
