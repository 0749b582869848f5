// The launches of a folder of compiled kernels: reads its launches.txt and chooses among the plans.
// The format, and what a plan means, are stated in kernels/launch_index.py and kernels/launch.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ddgan {

// Sizes by name. They are few, so a linear search is the fastest.
class Sizes {
 public:
  Sizes(std::initializer_list<std::pair<std::string_view, int64_t>> sizes) : sizes_(sizes) {}

  void Add(std::string_view name, int64_t value) { sizes_.emplace_back(name, value); }

  // Throws std::out_of_range: there is no such size.
  int64_t operator[](std::string_view name) const;

  // "batch 2, channels 8"
  std::string Text() const;

 private:
  std::vector<std::pair<std::string_view, int64_t>> sizes_;
};

// A product of sizes, numbers and divisions that round up.
class Extent {
 public:
  // Throws std::invalid_argument: the word is no extent.
  explicit Extent(std::string_view word);

  // Throws std::overflow_error: the product is 2^63 or more.
  int64_t Evaluate(const Sizes& sizes) const;

 private:
  // ceil(product of `sizes` / divisor) * number
  struct Factor {
    std::vector<std::string> sizes;
    int64_t divisor = 1;
    int64_t number = 1;
  };

  static Factor ParseFactor(std::string_view word);

  std::vector<Factor> factors_;
};

struct Argument {
  std::string name;
  bool pointer;  // else an int32
};

struct KernelLaunch {
  std::string file, symbol;
  unsigned threads, shared_bytes;
  std::vector<Extent> grid;  // three
  std::vector<Argument> arguments;
};

struct Plan {
  struct Fit {
    std::string size;
    int64_t least, most;
  };

  // `addresses`: all pointers, or-ed.
  bool Serves(const Sizes& sizes, uint64_t addresses) const;

  int64_t alignment = 0;  // of pointers, in bytes, and of `multiples`; 0: none is needed
  std::vector<Fit> fits;
  std::vector<std::string> multiples;
  std::vector<std::pair<std::string, Extent>> derived;
  std::vector<std::pair<std::string, std::vector<Extent>>> temporaries;  // float32 tensors
  std::vector<KernelLaunch> launches;
};

class Launches {
 public:
  // Reads `folder`/launches.txt.
  //
  // Throws std::runtime_error: there is none, or a line of it is malformed.
  explicit Launches(std::filesystem::path folder);

  // The first plan that serves the sizes on a device of this compute capability, times ten. The
  // variant is an op, a memory layout and an element type: "AdaGN nchw float16".
  //
  // Throws std::invalid_argument: none does.
  const Plan& Choose(const std::string& variant, int device_arch, const Sizes& sizes,
                     uint64_t addresses) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  using Plans = std::vector<Plan>;

  const Plans& ForDevice(const std::string& variant, int device_arch) const;

  std::filesystem::path folder_;
  std::map<std::string, std::map<int, Plans>> variants_;  // variant -> architecture -> plans
};

}  // namespace ddgan
