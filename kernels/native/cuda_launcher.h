// Runs an op's compiled kernels on a CUDA stream.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda_driver.h"
#include "launches.h"

namespace ddgan {

// Gives device memory that stays until the stream has passed the call it was asked for.
using AllocateScratch = std::function<const void*(size_t bytes)>;

// The kernels of one folder. Safe from any thread; to be kept as long as the process runs, like the
// modules that it loads.
class CudaLauncher {
 public:
  using Tensors = std::vector<std::pair<std::string_view, const void*>>;

  explicit CudaLauncher(std::filesystem::path folder) : folder_(std::move(folder)) {}
  CudaLauncher(const CudaLauncher&) = delete;
  CudaLauncher& operator=(const CudaLauncher&) = delete;

  // The folder's launches, read at the first call.
  //
  // Throws std::runtime_error: the folder has none, or they are malformed.
  const Launches& Index() const;

  // Launches the kernels of `variant` ("AdaGN nchw float16") for these sizes and tensors, inputs
  // and outputs, none of them empty.
  //
  // Throws std::exception: no kernel serves them, or the driver refuses; the text names what.
  void Run(const std::string& variant, const Sizes& sizes, const Tensors& tensors,
           cuda::Stream stream, const AllocateScratch& allocate) const;

  // `rows` copies of the `bytes` at `row`, one after another in scratch memory.
  static const void* Repeat(const void* row, size_t bytes, size_t rows, cuda::Stream stream,
                            const AllocateScratch& allocate);

 private:
  // What a context has loaded.
  struct Loaded {
    int arch = 0;
    int most_shared_bytes = 0;
    std::map<std::string, cuda::Module> modules;
    std::map<const KernelLaunch*, cuda::Function> functions;
  };

  int Arch(cuda::Context context) const;
  cuda::Function Find(cuda::Context context, const KernelLaunch& launch) const;
  Loaded& Of(cuda::Context context) const;

  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const Launches> index_;
  mutable std::map<cuda::Context, Loaded> loaded_;
};

}  // namespace ddgan
